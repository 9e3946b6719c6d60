"""Convert frozen dataclasses to JSON and back, exactly."""

import json
import re
import types
from dataclasses import fields, is_dataclass
from typing import Any, Never, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_HALF = re.compile("[\ud800-\udfff]")
# Types accepted for a plain value. JSON writes a float without a fraction as an integer.
_PLAIN: dict[Any, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (float, int)}


def to_json(record: object) -> str:
    """Return the record as indented JSON. Floats are exact; NaN and infinity are refused.

    Args:
        record: a dataclass of dataclasses, tuples, dicts with string keys, and plain values.

    Returns:
        The text. Unpaired surrogates, as in file names that are not UTF-8, are escaped, so that it can be written.
    """
    text = json.dumps(_plain(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return _HALF.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def from_json(kind: type[T], text: str) -> T:
    """Build a record from its JSON.

    Args:
        kind: class of the record.
        text: text that `to_json` returned.

    Returns:
        The record.

    Raises:
        ValueError: the text is not JSON, lacks a field, or has a value of another type. The message names the field.
    """
    try:
        record: T = _build(kind, json.loads(text, parse_constant=_refuse), "")
    except RecursionError:
        raise ValueError(f"the text is nested too deeply for {kind.__name__}") from None
    return record


def _refuse(name: str) -> Never:
    raise ValueError(f"{name} is not a number that a record can hold")


def _plain(value: Any) -> Any:  # noqa: ANN401  # the nodes of a JSON tree
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _build(kind: Any, value: Any, place: str) -> Any:  # noqa: ANN401  # a type expression, and a node of a JSON tree
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        alternatives = [a for a in arguments if a is not types.NoneType]
        fitting = [a for a in alternatives if type(value) in _PLAIN.get(a, ())]
        return _build((fitting or alternatives)[0], value, place)
    if is_dataclass(kind) and isinstance(kind, type):
        return _build_record(kind, value, place)
    if origin is tuple:
        return tuple(_build(arguments[0], v, f"{place}[{i}]") for i, v in enumerate(_of(list, value, place)))
    if origin is dict:
        return {k: _build(arguments[1], v, f"{place}.{k}") for k, v in _of(dict, value, place).items()}
    if type(value) not in _PLAIN[kind]:
        raise ValueError(f"`{place}` should be of type {kind.__name__}. Found {type(value).__name__}")
    return value


def _build_record(kind: type, value: Any, place: str) -> Any:  # noqa: ANN401  # the same
    entries, hints, built = _of(dict, value, place), get_type_hints(kind), {}
    for field in fields(kind):
        path = f"{place}.{field.name}".removeprefix(".")
        if field.name not in entries:
            raise ValueError(f"`{path}` is missing")
        built[field.name] = _build(hints[field.name], entries[field.name], path)
    return kind(**built)


def _of(kind: type[T], value: Any, place: str) -> T:  # noqa: ANN401  # the same
    if not isinstance(value, kind):
        raise ValueError(f"`{place or 'the record'}` should be of type {kind.__name__}. Found {type(value).__name__}")
    return value
