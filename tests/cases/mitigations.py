"""Mitigations by their texts."""

from preflens.mitigations.parse import parse_mitigation

MASKS = ("sparse_mask", "sparse_mask:kind=learned", "sparse_mask:kind=contrast")


def with_strength(text, strength):
    """A mitigation of another strength."""
    return parse_mitigation(text + ("," if ":" in text else ":") + f"strength={strength}")
