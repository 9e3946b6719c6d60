"""Texts that call an entry of a table, as in `NAME:key=value,key=value`: read, and written back.

Objectives, modifiers and mitigations share this form. Each has its own table of factories and its own exception.
"""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from inspect import signature
from typing import TypeVar

from preflens.errors import PreflensError

Entry = TypeVar("Entry")
Value = float | str
Factories = Mapping[str, Callable[..., Entry]]


def factory_defaults(factory: Callable[..., object]) -> dict[str, Value]:
    """Return the parameters of a factory with their default values.

    Args:
        factory: every parameter has a default, a number or a word.

    Returns:
        Default by parameter name, in the factory's order.

    Example:
        >>> from preflens.objectives import simpo
        >>> factory_defaults(simpo)
        {'beta': 2.0, 'gamma': 1.0}
    """
    return {p.name: p.default for p in signature(factory).parameters.values()}


def call_from_spec(
    spec: str,
    table: Factories[Entry],
    *,
    noun: str,
    error: type[PreflensError],
    hint: Callable[[str], str] = lambda _: "",
) -> Entry:
    """Call the factory that a text names, with the parameters that it gives.

    Args:
        spec: `NAME` or `NAME:key=value,key=value`. A value is a word where the default is one, else a number.
        table: factory by name.
        noun: what an entry of the table is called in messages, for example `objective`.
        error: the exception to raise.
        hint: a sentence about a name that is not in the table, or an empty text for near matches.

    Returns:
        What the factory returns.

    Raises:
        PreflensError: of type `error`: the name or a parameter is unknown, or a value is not a number.

    Example:
        >>> from preflens.errors import InputError
        >>> table = {"power": lambda exponent=2.0: 2**exponent}
        >>> call_from_spec("power:exponent=3", table, noun="map", error=InputError)
        8.0
    """
    name, _, rest = spec.strip().partition(":")
    if name not in table:
        raise error(f"Unknown {noun} `{name}`.{hint(name) or near_matches(name, table)} Known: {', '.join(table)}.")
    defaults, values = factory_defaults(table[name]), dict[str, Value]()
    for part in filter(None, (p.strip() for p in rest.split(","))):
        key, _, value = (p.strip() for p in part.partition("="))
        if key not in defaults:
            raise error(f"{noun.capitalize()} `{name}` has no parameter `{key}`.{known_parameters(key, defaults)}")
        if isinstance(defaults[key], str):
            values[key] = value
            continue
        try:
            values[key] = float(value)
        except ValueError:
            found = f"`{value}`" if value else "no value"
            raise error(f"Parameter `{key}` of {noun} `{name}` should be a number. Found {found}.") from None
    return table[name](**values)


def spec_of(name: str, parameters: Mapping[str, Value], table: Factories[object]) -> str:
    """Return the shortest text that `call_from_spec` reads back: the name, and parameters that are not the default.

    Args:
        name: of the entry, or of an object of one's own that is not in the table.
        parameters: the values it was made with.
        table: factory by name.

    Returns:
        For example `simpo:gamma=0.5`. All parameters of an object that is not in the table are named.

    Example:
        >>> from preflens.objectives import OBJECTIVES
        >>> spec_of("simpo", {"beta": 2.0, "gamma": 0.5}, OBJECTIVES), spec_of("mine", {"beta": 2.0}, OBJECTIVES)
        ('simpo:gamma=0.5', 'mine:beta=2')
    """
    defaults = factory_defaults(table[name]) if name in table else {}
    changed = {key: value for key, value in parameters.items() if defaults.get(key) != value}
    texts = [f"{key}={value if isinstance(value, str) else format(value, 'g')}" for key, value in changed.items()]
    return name + (":" + ",".join(texts) if texts else "")


def known_parameters(key: str, defaults: Mapping[str, Value]) -> str:
    """Return the end of a message about an unknown parameter: near matches, and all that are known.

    Args:
        key: the unknown parameter.
        defaults: the known parameters.

    Returns:
        Sentences with a leading space.
    """
    return f"{near_matches(key, defaults)} Known: {', '.join(defaults)}." if defaults else " It has none."


def near_matches(word: str, known: Iterable[str]) -> str:
    """Return the question whether one of the most similar known words was meant.

    Args:
        word: an unknown word.
        known: the known words.

    Returns:
        A sentence with a leading space, or an empty text where nothing is similar.

    Example:
        >>> near_matches("dqo", ["dpo", "simpo"])
        ' Did you mean `dpo`?'
    """
    close = get_close_matches(word.lower(), list(known), n=2, cutoff=0.5)
    return f" Did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else ""
