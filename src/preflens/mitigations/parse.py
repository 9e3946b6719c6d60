"""Mitigations as texts: `normalized`, `band:margin=0.2`, `normalized:scale=shared,strength=0.5`."""

from preflens.errors import InputError
from preflens.mitigations.table import MITIGATIONS, Mitigation
from preflens.specs import call_from_spec, spec_of


def parse_mitigation(text: str) -> Mitigation:
    """Build a mitigation from a text.

    Args:
        text: `NAME` or `NAME:key=value,key=value`.

    Returns:
        The mitigation.

    Raises:
        InputError: a name or parameter is unknown (the message has near matches), or a value is not a number where the
            parameter is one.

    Example:
        >>> parse_mitigation("normalized:strength=0.5").strength
        0.5
    """
    return call_from_spec(text, MITIGATIONS, noun="mitigation", error=InputError)


def mitigation_label(mitigation: Mitigation) -> str:
    """Return the shortest text that `parse_mitigation` reads back: the name, and parameters that are not the default.

    Args:
        mitigation: from the table, or your own; of your own, all parameters are named.

    Returns:
        For example `cone` or `cone:floor=0.2`.

    Example:
        >>> from preflens.mitigations import cone, mitigation_label
        >>> mitigation_label(cone(floor=0.2))
        'cone:floor=0.2'
    """
    return spec_of(mitigation.name, mitigation.parameters, MITIGATIONS)
