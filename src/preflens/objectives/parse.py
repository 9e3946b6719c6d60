"""Objectives as texts: `dpo`, `simpo:beta=2,gamma=1`, `dpo@ld:alpha=0.5`, `0.7*dpo+0.3*sft`."""

import re
from collections.abc import Callable, Iterable

from preflens.errors import ObjectiveError
from preflens.objectives.kinds.base import Objective
from preflens.objectives.kinds.weighted_sum import WeightedSum
from preflens.objectives.modifiers import MODIFIERS, ModifiedObjective, modified
from preflens.objectives.not_included import NOT_INCLUDED
from preflens.objectives.table import OBJECTIVES
from preflens.objectives.trl import TRL_LOSS_TYPES, TrlSettings
from preflens.specs import call_from_spec, factory_defaults, spec_of

_PLUS = re.compile(r"(?<!\d[eE])\+")  # not the plus of 1e+3
_WEIGHT = re.compile(r"^\s*([^*:@]*)\*(.*)$", re.DOTALL)


def parse_objective(text: str) -> Objective:
    """Build an objective from a text.

    Args:
        text: `NAME`, `NAME:key=number,key=number`, with or without modifiers as in `dpo@wpo` or `dpo@ld:alpha=0.5`, or
            a weighted sum as in `0.7*dpo+0.3*sft`.

    Returns:
        The objective.

    Raises:
        ObjectiveError: a name or parameter is unknown (the message has near matches), a value is not a number, or a
            modifier does not apply to an objective.

    Example:
        >>> dict(parse_objective("simpo:beta=2.5").parameters)
        {'beta': 2.5, 'gamma': 1.0}
        >>> parse_objective("0.7*dpo+0.3*sft").kind
        'batch'
    """
    terms = tuple(_term(part) for part in _PLUS.split(text))
    return terms[0][1] if len(terms) == 1 and terms[0][0] == 1 else WeightedSum(terms)


def default_parameters(name: str) -> dict[str, float]:
    """Return the parameters of a table entry with their default values.

    Args:
        name: a key of `OBJECTIVES` or `MODIFIERS`.

    Returns:
        Default by parameter name.
    """
    factory: Callable[..., object] = OBJECTIVES[name] if name in OBJECTIVES else MODIFIERS[name]
    return {key: float(value) for key, value in factory_defaults(factory).items()}


def objective_label(objective: Objective) -> str:
    """Return the shortest text that `parse_objective` reads back: the name, and parameters that are not the default.

    Args:
        objective: from the table, a modified one, a sum, or your own.

    Returns:
        For example `dpo`, `simpo:gamma=0.5`, `dpo@wpo` or `0.7*dpo+0.3*sft`.

    Example:
        >>> from preflens.objectives import objective_label, simpo
        >>> objective_label(simpo(beta=2.0, gamma=0.5))
        'simpo:gamma=0.5'
    """
    if isinstance(objective, WeightedSum):
        return "+".join(f"{weight:g}*{objective_label(term)}" for weight, term in objective.terms)
    if isinstance(objective, ModifiedObjective):
        inner, modifier = objective.objective, objective.modifier
        return f"{objective_label(inner)}@{spec_of(modifier.name, modifier.parameters, MODIFIERS)}"
    return spec_of(objective.name, objective.parameters, OBJECTIVES)


def resolve_objectives(objectives: Iterable[str | Objective]) -> dict[str, Objective]:
    """Return the objectives by label, in order; texts are parsed.

    Args:
        objectives: texts for `parse_objective`, or objectives.

    Returns:
        Objective by label.

    Raises:
        ObjectiveError: there is none, or the same one twice.
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


def _term(text: str) -> tuple[float, Objective]:
    match = _WEIGHT.match(text)
    number, rest = match.groups() if match else ("1", text)
    try:
        weight = float(number)
    except ValueError:
        raise ObjectiveError(f"A weight should be a number, as in `0.7*dpo`. Found `{number.strip()}`.") from None
    name, *changes = rest.split("@")
    objective = call_from_spec(name, OBJECTIVES, noun="objective", error=ObjectiveError, hint=_hint)
    for change in changes:
        objective = modified(
            objective, call_from_spec(change, MODIFIERS, noun="modifier", error=ObjectiveError, hint=_hint)
        )
    return weight, objective


def _hint(name: str) -> str:
    """A sentence about an unknown name: left out on purpose, TRL's name, or a modifier."""
    if name.lower() in NOT_INCLUDED:
        return f" It is left out: {NOT_INCLUDED[name.lower()]}"
    if name in TRL_LOSS_TYPES:
        ours = TRL_LOSS_TYPES[name](TrlSettings(label_smoothing=0.1)).name  # `exo_pair` needs some smoothing
        return f" TRL's `{name}` is `{ours}` here."
    if name in MODIFIERS:
        return f" It is a modifier: write `NAME@{name}`, for example `dpo@{name}`."
    return ""
