"""What the numbers do not say."""

from preflens.records.analysis_wording import EQUAL_TO_POLICY
from preflens.records.comparison import Comparison
from preflens.report.section import Record, Section


def limits(record: Record) -> Section:
    """State the assumptions behind the numbers.

    Args:
        record: an analysis or a comparison.

    Returns:
        A section of text.
    """
    metadata, rollout = record.metadata, None
    if isinstance(record, Comparison):
        verified, flag, argument = bool(record.metadata.real_steps), "--verify dpo", 'verify_objectives=["dpo"]'
        training, held_out = record.metadata.followed
        rollout = ((training, metadata.data.pairs), (held_out, record.metadata.probe.pairs))
    else:
        verified, flag, argument = bool(record.metadata.verification), "--verify 4", "verify_batches=4"
    values = {
        "verified": verified,
        "option": flag if metadata.command else argument,
        "selection": metadata.model.selection,
        "own_reference": metadata.model.reference in EQUAL_TO_POLICY,
        "rollout": rollout,
    }
    return Section("Limits of these numbers", values)
