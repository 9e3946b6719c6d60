"""Which parameter values an objective accepts."""

from math import isfinite

from preflens.errors import ObjectiveError


def positive(objective: str, **values: float) -> None:
    """Refuse a parameter that is not a finite number above zero.

    Args:
        objective: name for the message.
        **values: parameters by name.

    Raises:
        ObjectiveError: a value is zero, negative or not finite.
    """
    for name, value in values.items():
        if not (isfinite(value) and value > 0):
            raise ObjectiveError(f"Parameter `{name}` of objective `{objective}` should be above 0. Found {value:g}.")


def non_negative(objective: str, **values: float) -> None:
    """Refuse a parameter that is not a finite number from zero up.

    Args:
        objective: name for the message.
        **values: parameters by name.

    Raises:
        ObjectiveError: a value is negative or not finite.
    """
    for name, value in values.items():
        if not (isfinite(value) and value >= 0):
            raise ObjectiveError(f"Parameter `{name}` of objective `{objective}` should be 0 or more. Found {value:g}.")
