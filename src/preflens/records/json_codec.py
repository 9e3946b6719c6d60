"""Frozen dataclasses to JSON and back, exactly."""

import json
import re
import types
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_HALF = re.compile("[\ud800-\udfff]")


def to_json(record: object) -> str:
    """Return the record as indented JSON; floats survive exactly, NaN and infinity are refused.

    Args:
        record: a dataclass of dataclasses, tuples, dicts with string keys, and plain values.

    Returns:
        The text; halves of surrogate pairs, as in names of files that are not UTF-8, are escaped, so that it can be
        written.
    """
    text = json.dumps(_plain(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return _HALF.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def from_json(kind: type[T], text: str) -> T:
    """Build a record from its JSON.

    Args:
        kind: the dataclass.
        text: what `to_json` wrote.

    Returns:
        The record.

    Raises:
        ValueError: the text is no JSON, or lacks a field.
    """
    try:
        record: T = _build(kind, json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the record does not fit {kind.__name__}: {error!r}") from error
    return record


def _plain(value: Any) -> Any:  # noqa: ANN401  # the nodes of a JSON tree
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _build(kind: Any, value: Any) -> Any:  # noqa: ANN401  # a type expression, and a node of a JSON tree
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        alternatives = [a for a in arguments if a is not type(None)]
        return _build(alternatives[0], value) if len(alternatives) == 1 else value
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{f.name: _build(hints[f.name], value[f.name]) for f in fields(kind)})
    if origin is tuple:
        return tuple(_build(arguments[0], v) for v in value)
    if origin is dict:
        return {k: _build(arguments[1], v) for k, v in value.items()}
    return value
