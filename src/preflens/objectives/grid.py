"""Lists of objectives, and grids of hyperparameters such as `dpo.beta=0.01,0.1,1`, as texts."""

from collections.abc import Iterable, Mapping
from itertools import product

from preflens.errors import ObjectiveError
from preflens.objectives.kinds.base import Objective
from preflens.objectives.parse import default_parameters, objective_label, parse_objective
from preflens.objectives.table import OBJECTIVES
from preflens.specs import known_parameters


def split_objectives(text: str) -> list[str]:
    """Split a comma-separated list of objectives whose parameters also contain commas.

    Args:
        text: names, with optional parameters.

    Returns:
        One text per objective.

    Example:
        >>> split_objectives("dpo,simpo:beta=2,gamma=1,slic")
        ['dpo', 'simpo:beta=2,gamma=1', 'slic']
    """
    objectives: list[str] = []
    for part in text.split(","):
        if objectives and "=" in part and ":" not in part:
            objectives[-1] += f",{part.strip()}"
        else:
            objectives.append(part.strip())
    return objectives


def expand_grid(grid: Iterable[str]) -> dict[str, Objective]:
    """Build the objectives of a grid: every combination of the values given for an objective's parameters.

    Args:
        grid: one text per parameter, `OBJECTIVE.PARAMETER=VALUE,VALUE`.

    Returns:
        Objective by label, in the order of the grid, grouped by objective.

    Raises:
        ObjectiveError: a text has another form, names an unknown objective or parameter, or has no value, a value that
            is not a number or one outside the parameter's domain.

    Example:
        >>> list(expand_grid(["simpo.beta=1,2", "simpo.gamma=0.5"]))
        ['simpo:beta=1,gamma=0.5', 'simpo:gamma=0.5']
    """
    axes: dict[str, dict[str, list[str]]] = {}
    for text in grid:
        name, parameter, values = _axis(text)
        if parameter in axes.setdefault(name, {}):
            raise ObjectiveError(
                f"`grid` names `{name}.{parameter}` twice; give all its values at once.", arguments=["grid"]
            )
        axes[name][parameter] = values
    points = [point for name, values in axes.items() for point in _points(name, values)]
    return {objective_label(point): point for point in points}


def _axis(text: str) -> tuple[str, str, list[str]]:
    left, equals, right = text.partition("=")
    name, dot, parameter = (part.strip() for part in left.partition("."))
    if not (equals and dot and name and parameter):
        raise ObjectiveError(f"`grid` should read OBJECTIVE.PARAMETER=VALUE,VALUE. Found `{text}`.", arguments=["grid"])
    parse_objective(name)  # raises with near matches
    if name not in OBJECTIVES:
        raise ObjectiveError(
            f"`grid={text}` should vary an entry of the table, without modifiers or sums.", arguments=["grid"]
        )
    known = default_parameters(name)
    if parameter not in known:
        raise ObjectiveError(
            f"`grid={text}`: objective `{name}` has no parameter `{parameter}`.{known_parameters(parameter, known)}",
            arguments=["grid"],
        )
    values = [value.strip() for value in right.split(",") if value.strip()]
    if not values:
        raise ObjectiveError(
            f"`grid={text}` is empty: give one value or more for `{name}.{parameter}`.", arguments=["grid"]
        )
    return name, parameter, values


def _points(name: str, axes: Mapping[str, list[str]]) -> list[Objective]:
    chosen = (zip(axes, values, strict=True) for values in product(*axes.values()))
    return [parse_objective(f"{name}:" + ",".join(f"{k}={v}" for k, v in point)) for point in chosen]
