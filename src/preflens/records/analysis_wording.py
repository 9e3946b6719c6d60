"""Verdict of an analysis in words, and formats of numbers, for the terminal and the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from preflens.records.analysis_metadata import AnalysisMetadata, ObjectiveSummary
from preflens.records.common import Argument, Estimate

# In a record: a frozen copy of an adapter without a part of it.
PARTIAL_COPY = "adapter-copy, in part"
# References whose log-probs equal those of the policy.
EQUAL_TO_POLICY = frozenset({"self", "adapter-copy"})
_REFERENCES = {
    "self": "the model itself, as at the first step of training",
    "none": "none",
    "adapter-off": "the model without its adapter",
    "adapter-copy": "a frozen copy of the adapter, as TRL keeps it when training continues from one",
    PARTIAL_COPY: "a frozen copy of the adapter as TRL 1.16 makes it, without trained rows and LoRA of embeddings",
}


def reference_in_full(recorded: str) -> str:
    """Describe where reference log-probs came from.

    Args:
        recorded: entry of the record: a word, or a model's name.

    Returns:
        A description, or the model's name.
    """
    return _REFERENCES.get(recorded, recorded)


@dataclass(frozen=True)
class Verdict:
    """Predicted effect of a step in words, for objectives whose steps have the same direction.

    Attributes:
        labels: labels of the objectives.
        direction: direction of the mean chosen log-prob: `rises`, `falls` or `unclear`.
        headline: the verdict in one sentence.
        detail: sentences with the numbers.
    """

    labels: tuple[str, ...]
    direction: str
    headline: str
    detail: tuple[str, ...]


def verdicts(metadata: AnalysisMetadata) -> tuple[Verdict, ...]:
    """Answer "will my chosen answers become more likely?" from the mean predicted changes of update batches.

    A mean counts as rising or falling only where its interval excludes zero, or by its sign without an interval.

    Args:
        metadata: metadata of an analysis.

    Returns:
        One verdict per direction of step, shared by all objectives with this direction.
    """
    leaders = [o for o in metadata.objectives if o.same_direction_as is None]
    return tuple(
        _verdict([leader, *(o for o in metadata.objectives if o.same_direction_as == leader.label)], metadata)
        for leader in leaders
    )


def _verdict(group: Sequence[ObjectiveSummary], metadata: AnalysisMetadata) -> Verdict:
    first = group[0]
    chosen, rejected = direction(first.chosen_change), direction(first.rejected_change)
    detail = [_per_margin(first)]
    if len(group) > 1:
        detail.append("On these pairs their first steps have the same direction and differ in length only.")
    detail += [_per_step(o, metadata.arguments["learning_rate"], name=len(group) > 1) for o in group]
    if len(metadata.update_batches) == 1:
        detail.append("All pairs are in one update batch, so there is no interval.")
    if first.negative:
        detail.append(f"{first.negative} pairs have a coefficient that is zero or negative. Signs are kept.")
    return Verdict(tuple(o.label for o in group), chosen, _HEADLINES[chosen, rejected], tuple(detail))


def direction(change: Estimate) -> str:
    """Return the direction of a mean change.

    Args:
        change: mean change with its interval, nats.

    Returns:
        `rises`, `falls` or `unclear`.
    """
    low = change.value if change.low is None else change.low
    high = change.value if change.high is None else change.high
    if low is not None and low > 0:
        return "rises"
    return "falls" if high is not None and high < 0 else "unclear"


def signed(value: float | None) -> str:
    """Format a number with its sign and three digits.

    Args:
        value: the number, or None.

    Returns:
        For example `+0.589`, `−1.2e-05`, or `n/a`.
    """
    if value is None:
        return "n/a"
    return f"{value:+.3g}".replace("-", "−", 1) if value < 0 else f"{value:+.3g}"


def plain(value: float | None) -> str:
    """Format a number with three digits.

    Args:
        value: the number, or None.

    Returns:
        For example `0.589`, or `n/a`.
    """
    return signed(value).removeprefix("+")


def with_interval(estimate: Estimate) -> str:
    """Format a signed number with its 95 % interval.

    Args:
        estimate: the number.

    Returns:
        For example `+0.589 [+0.243, +0.927]`.
    """
    if estimate.low is None or estimate.high is None:
        return signed(estimate.value)
    return f"{signed(estimate.value)} [{signed(estimate.low)}, {signed(estimate.high)}]"


def share(estimate: Estimate) -> str:
    """Format a share as a percentage.

    Args:
        estimate: between 0 and 1.

    Returns:
        For example `69 %`.
    """
    return "n/a" if estimate.value is None else f"{100 * estimate.value:.0f} %"


def batches(sizes: Sequence[int]) -> str:
    """Describe the number of update batches and their real sizes.

    Args:
        sizes: number of pairs of each batch.

    Returns:
        For example `2 update batches of 12 pairs`, or `3 update batches of 4 and 3 pairs`.
    """
    distinct = sorted(set(sizes), reverse=True)
    pairs = "pair" if distinct == [1] else "pairs"
    return f"{len(sizes)} update batch{'' if len(sizes) == 1 else 'es'} of {' and '.join(map(str, distinct))} {pairs}"


def _per_margin(summary: ObjectiveSummary) -> str:
    if summary.chosen_per_margin.value is None:
        return f"The mean margin does not clearly widen in this step ({with_interval(summary.margin_change)} nats)."
    return (
        f"Per nat of margin gained, the mean chosen log-prob changes by {with_interval(summary.chosen_per_margin)} "
        f"nats and the mean rejected log-prob by {with_interval(summary.rejected_per_margin)}."
    )


def _per_step(summary: ObjectiveSummary, learning_rate: Argument, *, name: bool) -> str:
    return (
        f"One plain gradient step{f' of {summary.label}' if name else ''} at learning rate {learning_rate:g} changes "
        f"them by {with_interval(summary.chosen_change)} and {with_interval(summary.rejected_change)} nats."
    )


_HEADLINES = {
    ("rises", "falls"): "Yes: chosen answers become more likely, rejected ones less likely.",
    ("rises", "rises"): "Both rise: chosen answers become more likely, and so do the rejected ones.",
    ("falls", "falls"): "No: both fall. Chosen answers become less likely, and so do the rejected ones.",
    ("falls", "rises"): "Reversed: chosen answers become less likely, rejected ones more likely.",
    ("rises", "unclear"): "Chosen answers become more likely. Rejected ones do not change significantly.",
    ("falls", "unclear"): "No: chosen answers become less likely. Rejected ones do not change significantly.",
    (
        "unclear",
        "falls",
    ): "Undecided: rejected answers become less likely. Chosen ones do not change significantly.",
    (
        "unclear",
        "rises",
    ): "Undecided: rejected answers become more likely. Chosen ones do not change significantly.",
    ("unclear", "unclear"): "Undecided: neither mean change is significantly different from zero on these pairs.",
}
