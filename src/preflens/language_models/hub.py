"""Data sets read with the `datasets` library: folders saved by it, and the hub."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from preflens.errors import InputError
from preflens.language_models.model_names import first_line

_MEDIA = re.compile(r"\b(Image|Audio|Video|Pdf)\(")  # features of `datasets`


def load_data_set(name: str, *, split: str | None, config: str | None) -> Iterator[Mapping[str, object]]:
    """Return the rows of a data set.

    Args:
        name: a folder written by `save_to_disk`, a folder of data files, or a hub id.
        split: the split; None for `train`, or the only one.
        config: the configuration of a hub data set.

    Returns:
        The rows.

    Raises:
        InputError: it does not exist, cannot be reached or read, has no such split, or has columns with media.
    """
    import datasets  # the import takes a second, and files do not need it

    datasets.disable_progress_bars()
    try:
        if (Path(name) / "dataset_info.json").is_file() or (Path(name) / "dataset_dict.json").is_file():
            data = datasets.load_from_disk(name)
        else:
            data = datasets.load_dataset(name, config)
    except (OSError, ValueError, RuntimeError) as error:
        kind = "folder" if Path(name).is_dir() else "file or folder here, and no reachable data set of the hub"
        raise InputError(f"`{name}` is no readable {kind}: {first_line(error)}.") from None
    if isinstance(data, Mapping):
        data = data[_choose_split(name, list(data), split)]
    elif split not in {None, "train"}:
        raise InputError(f"`{name}` was saved without splits; it has no `{split}`.")
    _refuse_media(name, data.features or {})
    return iter(data)


def _refuse_media(name: str, features: Mapping[str, object]) -> None:
    """Checked before a row is read, which would decode the media."""
    for column, kind in features.items():
        if _MEDIA.search(str(kind)):
            raise InputError(
                f"`{name}`: column `{column}` is `{kind}`, which makes these pairs about more than text, and only text "
                "is read. Remove the column if the texts stand by themselves."
            )


def _choose_split(name: str, splits: list[str], split: str | None) -> str:
    if split is not None and split not in splits:
        raise InputError(f"`{name}` has no split `{split}`. It has {', '.join(f'`{s}`' for s in splits)}.")
    if split is not None:
        return split
    if "train" not in splits and len(splits) > 1:
        raise InputError(
            f"`{name}` has the splits {', '.join(f'`{s}`' for s in splits)}; choose one as `split`.",
            arguments=["split"],
        )
    return "train" if "train" in splits else splits[0]
