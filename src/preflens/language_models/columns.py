"""Columns that are not read: refused or reported if they would change the meaning of a pair."""

from collections.abc import Iterator, Mapping, Sized

from preflens.errors import InputError
from preflens.language_models.conversations import Text, render

_MEDIA = ("image", "images", "image_path", "pixel_values", "video", "videos", "audio", "audios")
# Names of columns in which public data sets keep the context of a response.
_CONTEXT = (
    "question", "instruction", "instructions", "input", "query", "problem", "task", "post", "article", "user", "human",
    "system", "system_prompt", "context", "history", "messages", "conversation", "conversations",
)  # fmt: skip


def refuse_media(row: Mapping[str, object], place: str) -> None:
    """Raise if a row has images, video or audio, because only text is read.

    Args:
        row: a row with any columns.
        place: file and line, for messages.

    Raises:
        InputError: such a column is not empty.
    """
    for name, value in row.items():
        if name.lower() in _MEDIA and not _is_empty(value):
            raise InputError(
                f"{place}: column `{name}` makes this a pair about more than text, and only text is read. Leave it "
                "out, or remove the column if the texts stand by themselves."
            )


def unread_context(row: Mapping[str, object], *read: Text) -> list[str]:
    """Return columns whose texts belong to the context and are not part of prompt or responses.

    Args:
        row: a row with any columns.
        *read: prompt and responses.

    Returns:
        Their names, without columns that only repeat prompt or responses.
    """
    columns = [name for name in row if name.lower() in _CONTEXT and not _is_empty(row[name])]
    known = _words("\n".join(map(render, read))) if columns else ""
    return [name for name in columns if any(_words(text) not in known for text in _texts(row[name]))]


def refuse_unread_context(row: Mapping[str, object], chosen: Text, rejected: Text, place: str) -> None:
    """Raise if a row has its prompt in a column of another name.

    Args:
        row: a row without `prompt`.
        chosen: the chosen response, with its context.
        rejected: likewise for the rejected response.
        place: file and line, for messages.

    Raises:
        InputError: there is such a column.
    """
    if columns := unread_context(row, chosen, rejected):
        names = ", ".join(f"`{name}`" for name in columns)
        raise InputError(
            f"{place}: there is no column `prompt`, so the prompt would be the common beginning of `chosen` and "
            f"`rejected`, and what {names} says would not be read. Put it into `prompt`, or remove the column."
        )


def _is_empty(value: object) -> bool:
    """Whether a cell holds nothing: null, or something without entries, arrays of NumPy and torch included."""
    return value is None or (isinstance(value, Sized) and len(value) == 0)


def _texts(value: object) -> Iterator[str]:
    """All texts in a cell: a text, or those of messages, turns and pairs of turns."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(next((value[key] for key in ("content", "value", "text") if value.get(key)), None))
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _texts(entry)


def _words(text: str) -> str:
    return " ".join(text.split())
