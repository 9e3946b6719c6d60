"""Mitigations named in words: `normalized`, `band:margin=0.2`, `normalized:scale=shared,strength=0.5`."""

from preflens.errors import InputError
from preflens.mitigations.table import MITIGATIONS, Mitigation
from preflens.specs import call_from_spec, spec_of


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
    return call_from_spec(text, MITIGATIONS, noun="mitigation", error=InputError)


def mitigation_label(mitigation: Mitigation) -> str:
    """Return the shortest text that `parse_mitigation` reads back: the name, and parameters that are not the default.

    Args:
        mitigation: an entry of the table, or a mitigation of one's own, all of whose parameters are named.

    Returns:
        For example `cone` or `cone:floor=0.2`.
    """
    return spec_of(mitigation.name, mitigation.parameters, MITIGATIONS)
