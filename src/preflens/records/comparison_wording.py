"""The verdict of a comparison in plain words, for the terminal and the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from preflens.records.analysis_wording import direction, plain, signed
from preflens.records.common import Argument, Estimate
from preflens.records.comparison_metadata import (
    EQUAL_MARGIN,
    LEARNING_RATE,
    ComparisonMetadata,
    ObjectiveComparison,
    RolloutCheck,
    Trajectory,
)

# Said once, wherever numbers for each nat of it stand.
MARGIN = (
    "Margin: the mean over held-out pairs of the change of the chosen log-prob less the change of the rejected one, in "
    "nats, summed over tokens."
)

_CHOSEN = {
    "rises": "raise the chosen answers",
    "unclear": "hold them: no change that can be told from zero",
    "falls": "sink the chosen answers",
}


@dataclass(frozen=True)
class Group:
    """Objectives whose first steps point the same way on the training pairs, and so do the same at equal margin gain.

    Attributes:
        members: the objectives, the first one leading.
        direction: of the held-out mean chosen log-prob: `rises`, `falls`, or `unclear` where its interval holds zero.
        chosen: its change for every nat of margin gained, nats; no value where the margin does not clearly grow.
        rejected: the same for the rejected ones.
    """

    members: tuple[ObjectiveComparison, ...]
    direction: str
    chosen: Estimate
    rejected: Estimate

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the members."""
        return tuple(o.label for o in self.members)


@dataclass(frozen=True)
class ComparisonVerdict:
    """The answer.

    Attributes:
        headline: in one sentence.
        parts: which raise, hold and sink the chosen answers: `rises`, `unclear` or `falls`, and the sentence.
        detail: what it costs, what the rollout adds, and what is left open.
    """

    headline: str
    parts: tuple[tuple[str, str], ...]
    detail: tuple[str, ...]


def groups(metadata: ComparisonMetadata) -> tuple[Group, ...]:
    """Group the objectives by the direction of their first step, the best for the held-out chosen answers first.

    Args:
        metadata: of a comparison.

    Returns:
        Groups; those whose margin does not clearly grow come last.
    """
    found = [
        _group([first, *(o for o in metadata.objectives if o.same_direction_as == first.label)])
        for first in metadata.objectives
        if first.same_direction_as is None
    ]
    return tuple(sorted(found, key=lambda g: -(g.chosen.value if g.chosen.value is not None else float("-inf"))))


def _group(members: Sequence[ObjectiveComparison]) -> Group:
    first = members[0]
    return Group(tuple(members), direction(first.heldout.chosen), first.chosen_per_margin, first.rejected_per_margin)


def comparison_verdict(metadata: ComparisonMetadata) -> ComparisonVerdict:
    """Say which objectives raise, hold or sink the chosen answers, and at what cost.

    Args:
        metadata: of a comparison.

    Returns:
        The verdict.
    """
    found = groups(metadata)
    sides = {way: [g for g in found if g.direction == way] for way in _CHOSEN}
    parts = tuple((way, _sentence(way, inside)) for way, inside in sides.items() if inside)
    detail = [*_cost(found), *_rollout(metadata), *_open(metadata)]
    return ComparisonVerdict(_headline(sides, len(found)), parts, tuple(detail))


def _headline(sides: dict[str, list[Group]], total: int) -> str:
    up, still, down = (len(sides[way]) for way in ("rises", "unclear", "falls"))
    if up == total:
        return "On these pairs every objective raises the held-out chosen answers with its first step."
    if down == total:
        return "On these pairs every objective sinks the held-out chosen answers with its first step."
    if not up and not down:
        return "On these pairs no objective moves the held-out chosen answers by an amount that can be told from zero."
    what = [
        f"{up} {_verb('raise', up)}" * (up > 0),
        f"{still} {_verb('hold', still)}" * (still > 0),
        f"{down} {_verb('sink', down)}" * (down > 0),
    ]
    counts = ", ".join(filter(None, what))
    return f"Of {total} directions that a first step can take, {counts} the held-out chosen answers."


def _verb(verb: str, count: int) -> str:
    return verb + "s" if count == 1 else verb


def _sentence(way: str, inside: Sequence[Group]) -> str:
    each = [f"{_names(g.labels)} ({signed(g.chosen.value)})" if g.chosen.value is not None else _names(g.labels)
            for g in inside]  # fmt: skip
    return f"{'; '.join(each)} {_CHOSEN[way]}."


def _names(labels: Sequence[str], *, shown: int = 6) -> str:
    more = f" and {len(labels) - shown} more" if len(labels) > shown else ""
    return ", ".join(labels[:shown]) + more


def _cost(found: Sequence[Group]) -> list[str]:
    """What raising the chosen answers costs in margin, at the learning rate asked for."""
    growing = [(g, o, o.margin.value) for g in found for o in g.members if o.margin_scale is not None]
    steps = [(g, o, m) for g, o, m in growing if m is not None]
    lines = [MARGIN]
    if not steps:
        return [*lines, "It does not clearly grow under any of them, so there is no value for each nat of it."]
    best = max(steps, key=lambda item: item[0].chosen.value or 0.0)
    most = max(steps, key=lambda item: item[2])
    lines.append(
        "Numbers in brackets are nats of held-out mean chosen log-prob for every nat of margin gained, so they do not "
        "depend on how long a step is."
    )
    if best[1].label != most[1].label:
        lines.append(
            f"At one and the same learning rate {best[1].label}, the best of these for the chosen answers, gains "
            f"{plain(best[2] / most[2])} times the margin of {most[1].label}, which gains the most. A larger learning "
            "rate makes up for a short step, not for a wrong direction."
        )
    return lines


def _without_value(found: Sequence[Group]) -> list[str]:
    """Why some have no value for each nat of margin, and no rollout at equal margin."""
    reasons = {
        "unclear": "its interval includes zero with",
        "falls": "it shrinks with",
    }
    members = [(o, direction(o.margin)) for g in found for o in g.members if o.margin_scale is None]
    said = [f"{why} {_names([o.label for o, way in members if way == key], shown=12)}" for key, why in reasons.items()
            if any(way == key for _, way in members)]  # fmt: skip
    return [f"No value for each nat of margin, and not rescaled: {'; '.join(said)}."] if said else []


def _rollout(metadata: ComparisonMetadata) -> list[str]:
    paths = [(o, path) for o in metadata.objectives if (path := rescaled(o)) is not None]
    ends = [(o, end) for o, p in paths if (end := last_point(p)) is not None]
    if len(ends) < 2:
        return []
    steps = max(int(h) for h in str(metadata.arguments["horizon"]).split(","))
    ordered = sorted(ends, key=lambda item: -item[1][0])
    (top, high), (bottom, low) = ordered[0], ordered[-1]
    return [
        f"Rolled out over {steps} steps, each objective at a rate of its own at which the margin would gain "
        f"{_nats(metadata.arguments['margin_gain'])} at the pace of the first step: the held-out chosen mean ends "
        f"between {signed(high[0])} ({top.label}) and {signed(low[0])} nats ({bottom.label}). Gradients are held fixed "
        "there, so this ranks objectives and is no promise of sizes."
    ]


def _nats(amount: Argument) -> str:
    return f"{amount:g} nat{'' if amount == 1 else 's'}"


def rescaled(objective: ObjectiveComparison) -> Trajectory | None:
    """Return the trajectory at equal margin gain.

    Args:
        objective: of a comparison.

    Returns:
        The trajectory, or None.
    """
    return next((t for t in objective.trajectories if t.scale == EQUAL_MARGIN), None)


def last_point(trajectory: Trajectory | None) -> tuple[float, float] | None:
    """Return where a trajectory ends.

    Args:
        trajectory: or None.

    Returns:
        Mean held-out chosen and rejected change after its last step, nats; None where it ended before.
    """
    if trajectory is None:
        return None
    chosen, rejected = trajectory.heldout_chosen[-1], trajectory.heldout_rejected[-1]
    return None if chosen is None or rejected is None else (chosen, rejected)


def _open(metadata: ComparisonMetadata) -> list[str]:
    lines = [*_without_value(groups(metadata)), *_ended(metadata)]
    if metadata.left_out:
        lines.append("Left out: " + "; ".join(f"{name} ({why})" for name, why in metadata.left_out.items()) + ".")
    if len(metadata.update_batches) == 1:
        lines.append("All training pairs are in one update batch, so there are no intervals.")
    lines += [_real(metadata)] if metadata.real_steps else []
    return lines


def _ended(metadata: ComparisonMetadata) -> list[str]:
    """Which rollouts end before their last step, and why."""
    lines = []
    for scale, where in ((EQUAL_MARGIN, ""), (LEARNING_RATE, " at the learning rate asked for")):
        paths = [(o.label, t) for o in metadata.objectives for t in o.trajectories if t.scale == scale]
        beyond = [f"{label} (step {t.impossible_from})" for label, t in paths if t.impossible_from is not None]
        broken = [f"{label} (step {t.broke_off})" for label, t in paths if t.broke_off is not None]
        if beyond:
            lines.append(f"The rollout{where} ends where it would take a log-prob above zero, which cannot be: "
                         f"{_names(beyond)}.")  # fmt: skip
        if broken:
            lines.append(f"The rollout{where} ends where log-probs diverge, steps being too large: {_names(broken)}.")
    return lines


def _real(metadata: ComparisonMetadata) -> str:
    steps = [s for real in metadata.real_steps for s in real.small]
    scores = [r2 for s in steps for r2 in (s.r2_chosen, s.r2_rejected, s.r2_margin) if r2 is not None]
    worst = f"with an R² of {min(scores):.4f} or better" if scores else "but none moved anything"
    checks = [c for real in metadata.real_steps for c in real.rollouts if c.within_ten_percent is not None]
    return f"Real steps: small ones were forecast on held-out pairs {worst}; {_agreement(checks)}."


def _agreement(checks: Sequence[RolloutCheck]) -> str:
    """How long the rollouts stay with the fact, by the one that leaves it first."""
    if not checks:
        return "the rollout moves too little to be told from rounding"
    worst = min(checks, key=lambda c: (c.within_ten_percent or 0) / c.steps[-1])
    good, end = worst.within_ten_percent or 0, worst.steps[-1]
    which = worst.objective + ("" if worst.scale == EQUAL_MARGIN else " at the learning rate asked for")
    if good == 0:
        return f"the rollout of {which} is off by more than 10 % as soon as it moves more than rounding does"
    if good == max(step for step, off in zip(worst.steps, worst.error, strict=True) if off is not None):
        return f"the rollout stays within 10 % of the fact to the end ({end} steps)"
    return f"the rollout stays within 10 % of the fact for {good} of {end} steps or more (worst: {which})"
