"""Objectives named in words: `dpo`, `simpo:beta=2,gamma=1`."""

from collections.abc import Iterable
from difflib import get_close_matches
from inspect import signature

from preflens.errors import ObjectiveError
from preflens.objectives import OBJECTIVES
from preflens.objectives.base import MarginObjective, Objective


def parse_objective(text: str) -> MarginObjective:
    """Build the objective that a text names.

    Args:
        text: a name of the table, optionally with parameters: `NAME` or `NAME:key=number,key=number`.

    Returns:
        The objective.

    Raises:
        ObjectiveError: the name or a parameter is unknown (near matches are offered), or a value is no number.

    Example:
        >>> dict(parse_objective("simpo:beta=2.5").parameters)
        {'beta': 2.5, 'gamma': 1.0}
    """
    name, _, rest = text.strip().partition(":")
    factory = OBJECTIVES.get(name)
    if factory is None:
        raise ObjectiveError(f"Unknown objective `{name}`.{_near(name, OBJECTIVES)} Known: {', '.join(OBJECTIVES)}.")
    known = default_parameters(name)
    values: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in rest.split(","))):
        key, equals, number = (p.strip() for p in part.partition("="))
        if key not in known:
            raise ObjectiveError(
                f"Objective `{name}` has no parameter `{key}`.{_near(key, known)} Known: {', '.join(known)}."
            )
        try:
            values[key] = float(number)
        except ValueError:
            found = f"`{number}`" if equals else "no value"
            raise ObjectiveError(
                f"Parameter `{key}` of objective `{name}` should be a number. Found {found}."
            ) from None
    return factory(**values)


def default_parameters(name: str) -> dict[str, float]:
    """Return the parameters of a table entry with their default values.

    Args:
        name: a key of `OBJECTIVES`.

    Returns:
        Default by parameter name.
    """
    return {p.name: float(p.default) for p in signature(OBJECTIVES[name]).parameters.values()}


def objective_label(objective: Objective) -> str:
    """Return the shortest text that `parse_objective` reads back: the name, and parameters that are not the default.

    Args:
        objective: an entry of the table, or an objective of one's own.

    Returns:
        For example `dpo` or `simpo:gamma=0.5`.
    """
    defaults = default_parameters(objective.name) if objective.name in OBJECTIVES else {}
    changed = [f"{k}={v:g}" for k, v in objective.parameters.items() if defaults.get(k) != v]
    return objective.name + (":" + ",".join(changed) if changed else "")


def resolve_objectives(objectives: Iterable[str | Objective]) -> dict[str, Objective]:
    """Return the objectives by label, in order; texts are parsed.

    Args:
        objectives: names with optional parameters, or objectives.

    Returns:
        Objective by label.

    Raises:
        ObjectiveError: none were given, or the same one twice.
    """
    resolved: dict[str, Objective] = {}
    for item in objectives:
        objective = parse_objective(item) if isinstance(item, str) else item
        label = objective_label(objective)
        if label in resolved:
            raise ObjectiveError(f"Objective `{label}` was given twice.")
        resolved[label] = objective
    if not resolved:
        raise ObjectiveError(f"No objective was given. Known: {', '.join(OBJECTIVES)}.")
    return resolved


def _near(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word.lower(), list(known), n=2, cutoff=0.5)
    return f" Did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else ""
