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


def finite(objective: str, **values: float) -> None:
    """Refuse a parameter that is not a finite number.

    Args:
        objective: name for the message.
        **values: parameters by name.

    Raises:
        ObjectiveError: a value is not finite.
    """
    for name, value in values.items():
        if not isfinite(value):
            raise ObjectiveError(f"Parameter `{name}` of objective `{objective}` should be finite. Found {value:g}.")


def between(
    objective: str, low: float, high: float, *, low_too: bool = True, high_too: bool = False, **values: float
) -> None:
    """Refuse a parameter outside an interval.

    Args:
        objective: name for the message.
        low: lower end.
        high: upper end.
        low_too: whether the lower end itself is accepted.
        high_too: whether the upper end itself is accepted.
        **values: parameters by name.

    Raises:
        ObjectiveError: a value is outside, or not a number.
    """
    for name, value in values.items():
        inside = (low < value or (low_too and value == low)) and (value < high or (high_too and value == high))
        if not inside:
            ends = f"{'[' if low_too else '('}{low:g}, {high:g}{']' if high_too else ')'}"
            raise ObjectiveError(f"Parameter `{name}` of objective `{objective}` should be in {ends}. Found {value:g}.")
