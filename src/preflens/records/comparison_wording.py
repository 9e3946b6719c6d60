"""Verdict of a comparison in words, for the terminal and the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from preflens.records.analysis_wording import direction, plain, signed
from preflens.records.common import Argument
from preflens.records.comparison_groups import Group, groups, last_point, rescaled
from preflens.records.comparison_metadata import (
    EQUAL_MARGIN,
    LEARNING_RATE,
    ComparisonMetadata,
    RolloutCheck,
)

# Explains the unit "per nat of margin" once on each page.
MARGIN = (
    "Margin: the mean over held-out pairs of the change of the chosen log-prob minus the change of the rejected one, "
    "in nats, summed over tokens."
)

_CHOSEN = {
    "rises": "raise the chosen log-probs",
    "unclear": "no significant change of the chosen log-probs",
    "falls": "lower the chosen log-probs",
}


@dataclass(frozen=True)
class ComparisonVerdict:
    """Predicted effects of all objectives in words.

    Attributes:
        headline: the verdict in one sentence.
        parts: direction of the chosen log-probs (`rises`, `unclear` or `falls`), and a sentence with its objectives.
        detail: sentences on margins, on the rollout, and on limits.
    """

    headline: str
    parts: tuple[tuple[str, str], ...]
    detail: tuple[str, ...]


def comparison_verdict(metadata: ComparisonMetadata) -> ComparisonVerdict:
    """Describe which objectives raise or lower the held-out chosen log-probs, and at which margin.

    Args:
        metadata: metadata of a comparison.

    Returns:
        The verdict.
    """
    all_groups = groups(metadata)
    by_direction = {way: [g for g in all_groups if g.direction == way] for way in _CHOSEN}
    parts = tuple((way, _sentence(way, members)) for way, members in by_direction.items() if members)
    detail = [*_margins(all_groups), *_rollout(metadata), *_limits(metadata)]
    return ComparisonVerdict(_headline(by_direction, len(all_groups)), parts, tuple(detail))


def _headline(by_direction: dict[str, list[Group]], total: int) -> str:
    up, unclear, down = (len(by_direction[way]) for way in ("rises", "unclear", "falls"))
    if up == total:
        return "On these pairs the first step of every objective raises the held-out chosen log-probs."
    if down == total:
        return "On these pairs the first step of every objective lowers the held-out chosen log-probs."
    if not up and not down:
        return "On these pairs no first step changes the held-out chosen log-probs significantly."
    counts = [
        f"{up} {_verb('raise', up)} the held-out chosen log-probs" * (up > 0),
        f"{down} {_verb('lower', down)} them" * (down > 0),
        f"{unclear} {'has' if unclear == 1 else 'have'} no significant effect" * (unclear > 0),
    ]
    text = ", ".join(filter(None, counts))
    if not up:
        text = text.replace(" them", " the held-out chosen log-probs", 1)
    return f"Of {total} different directions of the first step, {text}."


def _verb(verb: str, count: int) -> str:
    return verb + "s" if count == 1 else verb


def _sentence(way: str, members: Sequence[Group]) -> str:
    named = [f"{_names(g.labels)} ({signed(g.chosen.value)})" if g.chosen.value is not None else _names(g.labels)
             for g in members]  # fmt: skip
    return f"{'; '.join(named)}{':' if way == 'unclear' else ''} {_CHOSEN[way]}."


def _names(labels: Sequence[str], *, shown: int = 6) -> str:
    more = f" and {len(labels) - shown} more" if len(labels) > shown else ""
    return ", ".join(labels[:shown]) + more


def _margins(all_groups: Sequence[Group]) -> list[str]:
    """Sentences on the margin that the best objective for the chosen responses gains, compared with the largest one."""
    growing = [(g, o, o.margin.value) for g in all_groups for o in g.members if o.margin_scale is not None]
    steps = [(g, o, m) for g, o, m in growing if m is not None]
    lines = [MARGIN]
    if not steps:
        return [*lines, "It does not clearly grow with any objective, so there is no value per nat of margin."]
    best = max(steps, key=lambda item: item[0].chosen.value or 0.0)
    most = max(steps, key=lambda item: item[2])
    lines.append(
        "Numbers in brackets are changes of the held-out mean chosen log-prob per nat of margin gained, so they do not "
        "depend on the length of a step."
    )
    if best[1].label != most[1].label:
        lines.append(
            f"At the same learning rate, {best[1].label}, the best of these for the chosen responses, gains "
            f"{plain(best[2] / most[2])} times the margin of {most[1].label}, which gains the most. A larger learning "
            "rate makes up for a short step, but not for a wrong direction."
        )
    return lines


def _without_value(all_groups: Sequence[Group]) -> list[str]:
    """Why some objectives have no value per nat of margin, and no rollout at equal margin gain."""
    reasons = {
        "unclear": "its interval includes zero with",
        "falls": "it shrinks with",
    }
    members = [(o, direction(o.margin)) for g in all_groups for o in g.members if o.margin_scale is None]
    texts = [f"{why} {_names([o.label for o, way in members if way == key], shown=12)}" for key, why in reasons.items()
            if any(way == key for _, way in members)]  # fmt: skip
    return [f"No value per nat of margin, and no rescaled rollout: {'; '.join(texts)}."] if texts else []


def _rollout(metadata: ComparisonMetadata) -> list[str]:
    paths = [(o, path) for o in metadata.objectives if (path := rescaled(o)) is not None]
    ends = [(o, end) for o, p in paths if (end := last_point(p)) is not None]
    if len(ends) < 2:
        return []
    steps = max(int(h) for h in str(metadata.arguments["horizon"]).split(","))
    ordered = sorted(ends, key=lambda item: -item[1][0])
    (top, high), (bottom, low) = ordered[0], ordered[-1]
    return [
        f"Rollout over {steps} steps, with the learning rate of each objective scaled so that the margin would gain "
        f"{_nats(metadata.arguments['margin_gain'])} at the pace of the first step: the held-out mean chosen log-prob "
        f"changes by {signed(high[0])} ({top.label}) to {signed(low[0])} nats ({bottom.label}). Gradients are held "
        "fixed in a rollout, so it ranks objectives but does not predict sizes."
    ]


def _nats(amount: Argument) -> str:
    return f"{amount:g} nat{'' if amount == 1 else 's'}"


def _limits(metadata: ComparisonMetadata) -> list[str]:
    lines = [*_without_value(groups(metadata)), *_ended(metadata)]
    if metadata.left_out:
        lines.append("Left out: " + "; ".join(f"{name} ({why})" for name, why in metadata.left_out.items()) + ".")
    if len(metadata.update_batches) == 1:
        lines.append("All training pairs are in one update batch, so there are no intervals.")
    lines += [_real(metadata)] if metadata.real_steps else []
    return lines


def _ended(metadata: ComparisonMetadata) -> list[str]:
    """Sentences on rollouts that end before their last step."""
    lines = []
    for scale, where in ((EQUAL_MARGIN, ""), (LEARNING_RATE, " at the given learning rate")):
        paths = [(o.label, t) for o in metadata.objectives for t in o.trajectories if t.scale == scale]
        beyond = [f"{label} (step {t.impossible_from})" for label, t in paths if t.impossible_from is not None]
        broken = [f"{label} (step {t.broke_off})" for label, t in paths if t.broke_off is not None]
        if beyond:
            impossible = "a log-prob would be above zero, which is impossible"
            lines.append(f"The rollout{where} ends before {impossible}: {_names(beyond)}.")
        if broken:
            lines.append(
                f"The rollout{where} ends where log-probs diverge, because steps are too large: {_names(broken)}."
            )
    return lines


def _real(metadata: ComparisonMetadata) -> str:
    steps = [s for real in metadata.real_steps for s in real.small]
    scores = [r2 for s in steps for r2 in (s.r2_chosen, s.r2_rejected, s.r2_margin) if r2 is not None]
    worst = f"R² is {min(scores):.4f} or better" if scores else "no step changes a log-prob"
    checks = [c for real in metadata.real_steps for c in real.rollouts if c.within_ten_percent is not None]
    return f"Real steps: for forecasts of small steps on held-out pairs, {worst}. {_agreement(checks)}."


def _agreement(checks: Sequence[RolloutCheck]) -> str:
    """How long rollouts stay within 10 % of real steps, from the first one to leave that range."""
    if not checks:
        return "The changes in the rollout are too small to tell from rounding"
    worst = min(checks, key=lambda c: (c.within_ten_percent or 0) / c.steps[-1])
    good, end = worst.within_ten_percent or 0, worst.steps[-1]
    which = worst.objective + ("" if worst.scale == EQUAL_MARGIN else " at the given learning rate")
    if good == 0:
        return f"The rollout of {which} is off by more than 10 % as soon as its changes exceed rounding"
    if good == max(step for step, off in zip(worst.steps, worst.error, strict=True) if off is not None):
        return f"The rollout stays within 10 % of the real steps to the end ({end} steps)"
    return f"The rollout stays within 10 % of the real steps for {good} of {end} steps or more (worst: {which})"
