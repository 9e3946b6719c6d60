"""Objectives that change during training."""

from collections.abc import Sequence
from dataclasses import dataclass

from preflens.errors import InputError
from preflens.objectives.kinds.base import Objective
from preflens.objectives.kinds.weighted_sum import WeightedSum
from preflens.objectives.parse import parse_objective


@dataclass(frozen=True)
class Schedule:
    """An objective for every optimizer step.

    Attributes:
        stages: pairs of the first optimizer step and the objective from then on, ascending, the first at 0.
        ramp: interpolate to the next objective, with weights that change linearly from step to step; otherwise switch.
    """

    stages: tuple[tuple[int, Objective], ...]
    ramp: bool = False

    def at(self, step: int) -> Objective:
        """Return the objective of a step.

        Args:
            step: optimizer steps done.

        Returns:
            The objective.
        """
        number = max(k for k, (start, _) in enumerate(self.stages) if start <= step)
        start, objective = self.stages[number]
        if not self.ramp or number + 1 == len(self.stages) or step == start:
            return objective
        end, following = self.stages[number + 1]
        share = (step - start) / (end - start)
        return WeightedSum(((1 - share, objective), (share, following)))

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives of all stages."""
        return tuple(objective for _, objective in self.stages)


def schedule(stages: Sequence[tuple[int, Objective | str]] | str | Objective, *, ramp: bool = False) -> Schedule:
    """Build a schedule.

    Args:
        stages: pairs of a step and an objective; or one objective; or a text: `sft -> dpo:beta=0.1 @ 100` switches at
            step 100, `sft => dpo @ 100` interpolates linearly until then.
        ramp: interpolate between stages.

    Returns:
        The schedule.

    Raises:
        InputError: steps do not ascend from 0, or the text has another form.

    Example:
        >>> schedule("sft -> dpo @ 100").at(99).name, schedule("sft -> dpo @ 100").at(100).name
        ('sft', 'dpo')
    """
    parts: Sequence[tuple[int, Objective | str]]
    if isinstance(stages, str) and "=>" in stages and "->" in stages:
        raise InputError(f"A schedule either switches (`->`) or interpolates (`=>`), not both. Found `{stages}`.")
    if isinstance(stages, str):
        parts, ramp = _parsed(stages.replace("=>", "->")), "=>" in stages
    elif isinstance(stages, Objective):
        parts = [(0, stages)]
    else:
        parts = stages
    parsed = tuple((step, parse_objective(o) if isinstance(o, str) else o) for step, o in parts)
    steps = [step for step, _ in parsed]
    if not steps or steps[0] != 0 or sorted(set(steps)) != steps:
        raise InputError(f"The stages of a schedule should begin at step 0 and ascend. Found steps {steps}.")
    return Schedule(parsed, ramp)


def _parsed(text: str) -> list[tuple[int, Objective | str]]:
    stages: list[tuple[int, Objective | str]] = []
    for number, part in enumerate(text.split("->")):
        name, at, step = part.partition(" @ ")
        if bool(at) != (number > 0) or (at and not step.strip().isdigit()):
            raise InputError(
                f"A schedule should read like `sft -> dpo @ 100`: a step after every objective but the first. Found "
                f"`{text}`."
            )
        stages.append((int(step) if at else 0, name.strip()))
    return stages
