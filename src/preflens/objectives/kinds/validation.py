"""Checks of the hyperparameters of objectives."""

from math import isfinite

from preflens.errors import ObjectiveError


def positive(objective: str, **values: float) -> None:
    """Raise if a parameter is not a finite number above zero.

    Args:
        objective: the objective's name, for the message.
        **values: parameters by name.

    Raises:
        ObjectiveError: a value is zero, negative or not finite.
    """
    for name, value in values.items():
        if not (isfinite(value) and value > 0):
            raise ObjectiveError(f"Parameter `{name}` of objective `{objective}` should be above 0. Found {value:g}.")


def non_negative(objective: str, **values: float) -> None:
    """Raise if a parameter is not a finite number of zero or more.

    Args:
        objective: the objective's name, for the message.
        **values: parameters by name.

    Raises:
        ObjectiveError: a value is negative or not finite.
    """
    for name, value in values.items():
        if not (isfinite(value) and value >= 0):
            raise ObjectiveError(f"Parameter `{name}` of objective `{objective}` should be 0 or more. Found {value:g}.")


def finite(objective: str, **values: float) -> None:
    """Raise if a parameter is not a finite number.

    Args:
        objective: the objective's name, for the message.
        **values: parameters by name.

    Raises:
        ObjectiveError: a value is not finite.
    """
    for name, value in values.items():
        if not isfinite(value):
            raise ObjectiveError(f"Parameter `{name}` of objective `{objective}` should be finite. Found {value:g}.")


def between(
    objective: str, low: float, high: float, *, include_low: bool = True, include_high: bool = False, **values: float
) -> None:
    """Raise if a parameter is outside an interval.

    Args:
        objective: the objective's name, for the message.
        low: lower end.
        high: upper end.
        include_low: whether the lower end itself is accepted.
        include_high: whether the upper end itself is accepted.
        **values: parameters by name.

    Raises:
        ObjectiveError: a value is outside, or not a number.
    """
    for name, value in values.items():
        inside = (low < value or (include_low and value == low)) and (value < high or (include_high and value == high))
        if not inside:
            ends = f"{'[' if include_low else '('}{low:g}, {high:g}{']' if include_high else ')'}"
            raise ObjectiveError(f"Parameter `{name}` of objective `{objective}` should be in {ends}. Found {value:g}.")
