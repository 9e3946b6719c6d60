"""Read preference pairs from files, a folder saved by `datasets`, the hub, or memory."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from preflens.errors import InputError
from preflens.language_models.bad_rows import OnBadRow, bad_rows, refuse_or_note
from preflens.language_models.columns import unread_context
from preflens.language_models.files import file_rows
from preflens.language_models.hub import load_data_set
from preflens.language_models.pairs import PreferencePair, preference_pair


@dataclass(frozen=True)
class PairSource:
    """The pairs of a data set.

    Attributes:
        name: the name of the data set.
        pairs: the valid rows, in order, with unique ids.
        rows: number of rows read.
        dropped: number of rows left out, by reason.
        noted: number of kept rows with a remark, by remark.
        on_bad_row: what to do with a pair that the chat template fails on: `stop` or `drop`; None stops without a hint
            at the choice.
    """

    name: str
    pairs: tuple[PreferencePair, ...]
    rows: int
    dropped: Mapping[str, int]
    noted: Mapping[str, int]
    on_bad_row: OnBadRow | None = None


PairInput = PairSource | Iterable[Mapping[str, object] | PreferencePair]


def read_pairs(
    data: str | Path, *, split: str | None = None, config: str | None = None, on_bad_row: OnBadRow = "stop"
) -> PairSource:
    """Read preference pairs.

    Args:
        data: a json, jsonl (also .gz), parquet or csv file, a folder written by `save_to_disk`, or a hub id.
        split: split of a folder or hub data set; default `train`, if there is one.
        config: the configuration of a hub data set.
        on_bad_row: what to do with invalid rows: `stop` raises, `drop` skips and counts them.

    Returns:
        The pairs, with counts of the other rows.

    Raises:
        InputError: the data do not exist or cannot be read, or (with `stop`) a row is invalid.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "pairs.jsonl")
        ...     _ = path.write_text('{"prompt": "1 + 1 =", "chosen": " 2", "rejected": " 3"}')
        ...     source = read_pairs(path)
        >>> source.rows, source.pairs[0].prompt, source.pairs[0].chosen
        (1, '1 + 1 =', ' 2')
    """
    check_data(data)
    path = Path(data)
    if path.is_file():
        if split not in {None, "train"}:
            raise InputError(
                f"`{data}` is a file and has no split `{split}`. Folders and data sets of the hub have splits."
            )
        return _checked(file_rows(path), name=str(data), on_bad_row=on_bad_row)
    rows = load_data_set(str(data), split=split, config=config)
    numbered = ((f"`{data}`, row {i}", row) for i, row in enumerate(rows))
    return _checked(numbered, name=str(data), on_bad_row=on_bad_row)


def check_data(data: str | Path) -> None:
    """Raise if a path does not exist, before anything is read; names that may be hub ids pass.

    Args:
        data: as for `read_pairs`.

    Raises:
        InputError: the path does not exist.
    """
    if not Path(data).exists() and _looks_like_a_file(str(data)):
        raise InputError(f"There is no file or folder `{data}`.")


def pair_source(pairs: PairInput) -> PairSource:
    """Return a `PairSource` from any accepted form of pairs.

    Args:
        pairs: the result of `read_pairs`, or rows in TRL's columns (a list of dicts, a `datasets.Dataset`).

    Returns:
        The pairs, with counts of the other rows.
    """
    return pairs if isinstance(pairs, PairSource) else pairs_in_memory(pairs)


def pairs_in_memory(rows: Iterable[Mapping[str, object] | PreferencePair], *, name: str = "memory") -> PairSource:
    """Return a `PairSource` from an iterable of rows: a list of dicts, a `datasets.Dataset`, or pairs.

    Args:
        rows: rows in TRL's columns, or pairs.
        name: the name of the source.

    Returns:
        The pairs; an invalid row raises.

    Raises:
        InputError: there is no row, or an invalid one.
    """
    numbered = [(f"row {i}", row) for i, row in enumerate(rows)]
    if not numbered:
        raise InputError("No preference pairs were given.")
    return _checked(numbered, name=name, on_bad_row=None)


def _checked(
    rows: Iterable[tuple[str, Mapping[str, object] | PreferencePair | InputError]],
    *,
    name: str,
    on_bad_row: OnBadRow | None,
) -> PairSource:
    """Build pairs from rows.

    Args:
        rows: each with file and line, for messages; pairs stay unchanged.
        name: the name of the source.
        on_bad_row: `stop` or `drop`; None stops without a hint at the choice.

    Returns:
        The pairs.

    Raises:
        InputError: there is no row, no valid row, or (with `stop`) an invalid row.
    """
    pairs: list[PreferencePair] = []
    bad: list[str] = []
    unread: Counter[str] = Counter()
    for number, (place, row) in enumerate(rows):
        try:
            pairs.append(_pair(row, number, place))
        except InputError as error:
            refuse_or_note(error, on_bad_row, bad)
        else:
            if isinstance(row, Mapping):
                unread.update(unread_context(row, pairs[-1].prompt, pairs[-1].chosen, pairs[-1].rejected))
    if not pairs and not bad:
        raise InputError(f"`{name}` is empty: it holds no row.")
    if not pairs:
        raise InputError(f"`{name}`: all {len(bad)} rows were dropped as bad. The first: {bad[0]}")
    noted = {f"column `{column}` is not read": count for column, count in unread.items()}
    unique, repeated = _unique(pairs)
    if repeated:
        noted["repeated id"] = repeated
    return PairSource(name, unique, len(pairs) + len(bad), bad_rows(bad), noted, on_bad_row)


def _pair(row: Mapping[str, object] | PreferencePair | InputError, number: int, place: str) -> PreferencePair:
    if isinstance(row, InputError):
        raise row
    return row if isinstance(row, PreferencePair) else preference_pair(row, number=number, place=place)


def _unique(pairs: Sequence[PreferencePair]) -> tuple[tuple[PreferencePair, ...], int]:
    """Make ids unique by appending the position of the pair to a repeated id, so that tables can be joined on it."""
    counts = Counter(pair.id for pair in pairs)
    unique, repeated = [], 0
    for position, pair in enumerate(pairs):
        again = counts[pair.id] > 1
        unique.append(replace(pair, id=f"{pair.id}#{position}") if again else pair)
        repeated += again
    return tuple(unique), repeated


def _looks_like_a_file(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).suffix in {
        ".json", ".jsonl", ".gz", ".parquet", ".csv", ".arrow", ".txt"
    }  # fmt: skip
