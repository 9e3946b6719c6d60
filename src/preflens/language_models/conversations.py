"""Messages of a conversation: validity, content, and a text form for display."""

import json
from collections.abc import Mapping
from typing import Any

Message = dict[str, Any]  # Any: chat templates may use more than role and content
Text = str | list[Message]

# Keys of a message that name the speaker.
_WHO = ("role", "name")


def is_message(value: object) -> bool:
    """Return whether a value has the form of a message: a role, and content that is a text, a list of parts, or absent.

    Args:
        value: an entry of a list of messages.

    Returns:
        True if a chat template accepts it. The types of its parts are not checked.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("role"), str):
        return False
    content = value.get("content")
    if content is None:  # as in a message that only calls tools
        return says_something(value)
    return isinstance(content, str) or (isinstance(content, list) and all(isinstance(p, Mapping) for p in content))


def other_part(message: Mapping[str, Any]) -> str | None:
    """Return the type of the first part of a message's content that is not text.

    Args:
        message: a message.

    Returns:
        The `type` of the first such part, or None.
    """
    content = message.get("content")
    for part in content if isinstance(content, list) else []:
        if part.get("type") != "text" or not isinstance(part.get("text"), str):
            return str(part.get("type"))
    return None


def says_something(message: Mapping[str, Any]) -> bool:
    """Return whether a message has more than its role: text that is not blank, tool calls or reasoning.

    Args:
        message: a message.

    Returns:
        True if it has.
    """
    return bool(_content(message).strip()) or bool(_beside_content(message))


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message, followed by its other fields as JSON.

    Args:
        message: a message.

    Returns:
        One text.

    Example:
        >>> text_of({"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]})
        '{"tool_calls": [{"name": "f"}]}'
    """
    more = _beside_content(message)
    shown = json.dumps(more, ensure_ascii=False, default=str) if more else ""
    return "\n".join(filter(None, (_content(message), shown)))


def render(text: Text) -> str:
    """Return a text unchanged, and messages as `role: content` lines, for display.

    Args:
        text: either form.

    Returns:
        One string.
    """
    return text if isinstance(text, str) else "\n".join(f"{m['role']}: {text_of(m)}" for m in text)


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content)
    return content if isinstance(content, str) else ""


def _beside_content(message: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that are not empty. In a table, all messages have the same fields."""
    return {key: value for key, value in message.items() if key not in {*_WHO, "content"} and value}
