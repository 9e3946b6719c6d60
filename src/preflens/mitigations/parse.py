"""Mitigations named in words: `normalized`, `band:margin=0.2`, `normalized:scale=shared,strength=0.5`."""

from collections.abc import Iterable
from difflib import get_close_matches
from inspect import signature

from preflens.errors import InputError
from preflens.mitigations import MITIGATIONS, Mitigation
from preflens.mitigations.kinds.base import Value


def parse_mitigation(text: str) -> Mitigation:
    """Build the mitigation that a text names.

    Args:
        text: `NAME` or `NAME:key=value,key=value`.

    Returns:
        The mitigation.

    Raises:
        InputError: a name or parameter is unknown (near matches are offered), or a value is no number where one should
            be.

    Example:
        >>> parse_mitigation("normalized:strength=0.5").strength
        0.5
    """
    name, _, rest = text.strip().partition(":")
    if name not in MITIGATIONS:
        raise InputError(f"Unknown mitigation `{name}`.{_near(name, MITIGATIONS)} Known: {', '.join(MITIGATIONS)}.")
    known = {p.name: p.default for p in signature(MITIGATIONS[name]).parameters.values()}
    values: dict[str, Value] = {}
    for part in filter(None, (p.strip() for p in rest.split(","))):
        key, _, value = (p.strip() for p in part.partition("="))
        if key not in known:
            raise InputError(
                f"Mitigation `{name}` has no parameter `{key}`.{_near(key, known)} Known: {', '.join(known)}."
            )
        values[key] = value if isinstance(known[key], str) else _number(name, key, value)
    return MITIGATIONS[name](**values)


def mitigation_label(mitigation: Mitigation) -> str:
    """Return the shortest text that `parse_mitigation` reads back: the name, and parameters that are not the default.

    Args:
        mitigation: an entry of the table, or a mitigation of one's own, all of whose parameters are named.

    Returns:
        For example `cone` or `cone:floor=0.2`.
    """
    made = MITIGATIONS.get(mitigation.name)
    known = {} if made is None else {p.name: p.default for p in signature(made).parameters.values()}
    changed = {k: v for k, v in mitigation.parameters.items() if known.get(k) != v}
    texts = [f"{k}={v if isinstance(v, str) else format(v, 'g')}" for k, v in changed.items()]
    return mitigation.name + (":" + ",".join(texts) if texts else "")


def _number(name: str, key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        found = f"`{value}`" if value else "no value"
        raise InputError(f"Parameter `{key}` of mitigation `{name}` should be a number. Found {found}.") from None


def _near(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word.lower(), list(known), n=2, cutoff=0.5)
    return f" Did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else ""
