"""Columns beside those that are read: what a row would say in vain."""

from collections.abc import Iterator, Mapping

from preflens.errors import InputError
from preflens.language_models.conversations import Text, render

_MEDIA = ("image", "images", "video", "videos", "audio", "audios")
# Names under which public data sets keep what a response answers to.
_CONTEXT = (
    "question", "instruction", "input", "query", "system", "system_prompt", "context", "history", "messages",
    "conversation", "conversations",
)  # fmt: skip


def refuse_media(row: Mapping[str, object], place: str) -> None:
    """Refuse a row with pictures, films or sound: only its text would be read.

    Args:
        row: with any columns.
        place: file and line, for messages.

    Raises:
        InputError: it has one.
    """
    for name in _MEDIA:
        if row.get(name) not in (None, "", [], {}):
            raise InputError(
                f"{place}: column `{name}` makes this a pair about more than text, and only text is read. Leave it "
                "out, or remove the column if the texts stand by themselves."
            )


def unread_context(row: Mapping[str, object], *read: Text) -> list[str]:
    """Find columns whose texts belong before the responses and reach the model nowhere.

    Args:
        row: with any columns.
        *read: prompt and responses.

    Returns:
        Their names; a column that only repeats what is read is not among them.
    """
    there = [name for name in _CONTEXT if row.get(name)]
    known = _words("\n".join(map(render, read))) if there else ""
    return [name for name in there if any(_words(text) not in known for text in _texts(row[name]))]


def refuse_unread_context(row: Mapping[str, object], chosen: Text, rejected: Text, place: str) -> None:
    """Refuse a row without `prompt` that keeps it in a column of another name.

    Args:
        row: without `prompt`.
        chosen: with whatever stands before it.
        rejected: the same.
        place: file and line, for messages.

    Raises:
        InputError: it does.
    """
    if found := unread_context(row, chosen, rejected):
        names = ", ".join(f"`{name}`" for name in found)
        raise InputError(
            f"{place}: there is no column `prompt`, so the prompt would be the common beginning of `chosen` and "
            f"`rejected`, and what {names} says would not be read. Put it into `prompt`, or remove the column."
        )


def _texts(value: object) -> Iterator[str]:
    """All texts in a cell: itself, or those of messages, turns and pairs of turns."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(next((value[key] for key in ("content", "value", "text") if value.get(key)), None))
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _texts(entry)


def _words(text: str) -> str:
    return " ".join(text.split())
