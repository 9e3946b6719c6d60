"""Select the objectives of a comparison: names, grid points, mitigations, and those that are verified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from preflens.analysis.comparison.first_step import Training, coefficients_of
from preflens.errors import InputError, NumericalError, ObjectiveError
from preflens.language_models.model import Reference
from preflens.mitigations import CoefficientMap, Mitigation
from preflens.mitigations.parse import mitigation_label, parse_mitigation
from preflens.objectives import OBJECTIVES
from preflens.objectives.grid import expand_grid
from preflens.objectives.kinds.base import Objective
from preflens.objectives.parse import objective_label, resolve_objectives


@dataclass(frozen=True)
class Choice:
    """The objectives of a comparison.

    Attributes:
        objectives: by label; grid points follow the objective they vary.
        gridded: labels of grid points.
        named: labels of objectives that were given by name, whether or not a grid contains them, too.
        unnamed: labels of objectives that are there only because of `all`.
        left_out: entries of `OBJECTIVES` that `all` leaves out, with the reason.
        mitigations: by the labels of the objectives whose coefficients pass through one.
    """

    objectives: Mapping[str, Objective]
    gridded: frozenset[str]
    named: frozenset[str]
    unnamed: frozenset[str]
    left_out: Mapping[str, str]
    mitigations: Mapping[str, CoefficientMap] = field(default_factory=dict)

    def with_mitigations(self, mitigations: Sequence[str | Mitigation]) -> "Choice":
        """Add every named objective (`dpo` if none is named) with its coefficients passed through each mitigation.

        Args:
            mitigations: names with optional parameters, or mitigations.

        Returns:
            The choice with entries like `dpo+normalized`, each after its objective.

        Raises:
            InputError: a name or a value is wrong, a mitigation is not a map of coefficients, or one is given twice.
        """
        maps = _by_label(mitigations)
        targets = self.named or self.objectives.keys() & {"dpo"}
        if maps and not targets:
            raise InputError(
                'No objective is named for the mitigation. Name one in `objectives`, such as "dpo".',
                arguments=["objectives"],
            )
        objectives: dict[str, Objective] = {}
        mitigated: dict[str, CoefficientMap] = {}
        for label, objective in self.objectives.items():
            objectives[label] = objective
            for name, mitigation in maps.items() if label in targets else ():
                objectives[f"{label}+{name}"], mitigated[f"{label}+{name}"] = objective, mitigation
        return replace(self, objectives=objectives, mitigations=mitigated)

    def defined_for(self, training: Training) -> "Choice":
        """Leave out what only `all` selected and what has no finite coefficients on some training pair.

        Args:
            training: the pairs.

        Returns:
            The remaining choice.

        Raises:
            NumericalError: a named objective has no finite coefficients on some pair.
        """
        left_out = dict(self.left_out)
        for label in self.objectives:
            try:
                coefficients_of(self.objectives[label], training, self.mitigations.get(label))
            except NumericalError as error:
                if label not in self.unnamed:
                    raise
                left_out[label] = str(error).rstrip(".")
        remaining = {label: o for label, o in self.objectives.items() if label not in left_out}
        if not remaining:
            raise NumericalError(
                f"No objective has finite coefficients on these pairs. {next(iter(left_out.values()))}."
            )
        mitigations = {label: m for label, m in self.mitigations.items() if label in remaining}
        return replace(self, objectives=remaining, left_out=left_out, mitigations=mitigations)


def choose_objectives(objectives: Sequence[str | Objective], grid: Sequence[str], *, reference: Reference) -> Choice:
    """Select the objectives of a comparison.

    Args:
        objectives: names with optional parameters, or objectives. `all` adds every entry of `OBJECTIVES` that can be
            compared here.
        grid: one text per parameter, `OBJECTIVE.PARAMETER=VALUE,VALUE`.
        reference: where reference log-probs come from. With `none`, `all` leaves out objectives that need them.

    Returns:
        The choice.

    Raises:
        ObjectiveError: a name or a value is wrong, or no objective remains.
    """
    if isinstance(objectives, str):
        raise ObjectiveError(
            f"`objectives` should be a list of names. Found the text `{objectives}`.", arguments=["objectives"]
        )
    left_out: dict[str, str] = {}
    unnamed: list[str] = []
    named: list[str | Objective] = [o for o in objectives if o != "all"]
    named_labels = {objective_label(o) for o in resolve_objectives(named).values()} if named else set()
    if len(named) < len(objectives):
        left_out = {name: reason for name in OBJECTIVES if (reason := _unusable(OBJECTIVES[name](), reference))}
        unnamed = [name for name in OBJECTIVES if name not in left_out and name not in named_labels]
        named += unnamed
    points = expand_grid(grid)
    chosen = resolve_objectives(named) if named or not points else {}
    for label, point in points.items():
        chosen.setdefault(label, point)
    names = list(dict.fromkeys(o.name for o in chosen.values()))
    ordered = dict(sorted(chosen.items(), key=lambda item: names.index(item[1].name)))
    return Choice(ordered, frozenset(points), frozenset(named_labels), frozenset(unnamed) - set(points), left_out)


def _by_label(mitigations: Sequence[str | Mitigation]) -> dict[str, CoefficientMap]:
    maps: dict[str, CoefficientMap] = {}
    for mitigation in mitigations:
        parsed = parse_mitigation(mitigation) if isinstance(mitigation, str) else mitigation
        coefficient_map = _coefficient_map(parsed)
        label = mitigation_label(coefficient_map)
        if label in maps:
            raise InputError(f"Mitigation `{label}` was given twice. A mitigation of your own needs a different name.")
        maps[label] = coefficient_map
    return maps


def _coefficient_map(mitigation: Mitigation) -> CoefficientMap:
    if not isinstance(mitigation, CoefficientMap):
        raise InputError(
            f"Mitigation `{mitigation.name}` does more than change coefficients, so its effect cannot be "
            "predicted from the Gram. Train with it."
        )
    return mitigation


def _unusable(objective: Objective, reference: Reference) -> str | None:
    if objective.needs_reference and reference == "none":
        return "compares with a reference model, and there is none"
    beyond = sorted(objective.inputs - {"reference", "length"})
    return f"uses {' and '.join(beyond)}, and log-probs of whole responses are compared" if beyond else None


def choose_verified(labels: Sequence[str], choice: Choice) -> dict[str, Objective]:
    """Select the objectives whose steps are really taken.

    Args:
        labels: labels, or names for all points of an objective, or `all`.
        choice: the compared objectives.

    Returns:
        Objective by label.

    Raises:
        InputError: one of them is not compared, or its steps are mitigated.
    """
    plain = {label: o for label, o in choice.objectives.items() if label not in choice.mitigations}
    known = {*plain, *(o.name for o in plain.values()), "all"}
    for text in labels:
        if text not in known:
            raise InputError(
                f"`verify_objectives={text}` is none of the compared objectives whose plain steps can be taken. These "
                f"are: {', '.join(plain)}.",
                arguments=["verify_objectives"],
            )
    return {label: objective for label, objective in plain.items() if {label, objective.name, "all"} & set(labels)}
