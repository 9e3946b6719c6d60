"""Messages of a conversation: which can be used, what they say, and how people read them."""

import json
from collections.abc import Mapping
from typing import Any

Message = dict[str, Any]  # Any: chat templates may use more than role and content
Text = str | list[Message]

# Says who speaks, not what is said.
_WHO = ("role", "name")


def is_message(value: object) -> bool:
    """Tell whether a value has the form of a message: a role, and content that is text, parts, or left out.

    Args:
        value: an entry of a list of messages.

    Returns:
        Whether a chat template can be asked about it; what its parts are is another question.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("role"), str):
        return False
    content = value.get("content")
    if content is None:  # as in a message that only calls tools
        return says_something(value)
    return isinstance(content, str) or (isinstance(content, list) and all(isinstance(p, Mapping) for p in content))


def other_part(message: Mapping[str, Any]) -> str | None:
    """Find a part of a message's content that is no text.

    Args:
        message: of the form of a message.

    Returns:
        The `type` of the first such part, or None.
    """
    content = message.get("content")
    for part in content if isinstance(content, list) else []:
        if part.get("type") != "text" or not isinstance(part.get("text"), str):
            return str(part.get("type"))
    return None


def says_something(message: Mapping[str, Any]) -> bool:
    """Tell whether a message holds anything but its role: text that is not blank, calls of tools, reasoning.

    Args:
        message: any.

    Returns:
        Whether it does.
    """
    return bool(_content(message).strip()) or bool(_beside_content(message))


def text_of(message: Mapping[str, Any]) -> str:
    """Return what a message says: its text, then whatever else a template may show, as JSON.

    Args:
        message: any.

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
    """Return a text as it is, and messages as `role: content` lines, for people to read.

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
    """What is empty does not count: a table has the same fields for all messages."""
    return {key: value for key, value in message.items() if key not in {*_WHO, "content"} and value}
