"""What the numbers do not tell."""

from preflens.records.analysis_wording import EQUAL_TO_POLICY
from preflens.records.comparison import Comparison
from preflens.report.section import Section


def limits(comparison: Comparison) -> Section:
    """State what was assumed.

    Args:
        comparison: what was found.

    Returns:
        A section of text.
    """
    metadata = comparison.metadata
    values = {
        "own": metadata.model.reference in EQUAL_TO_POLICY,
        "selection": metadata.model.selection,
        "verified": bool(metadata.real_steps),
        "followed": metadata.followed,
        "pairs": (metadata.data.pairs, metadata.probe.pairs),
    }
    return Section("What this does not tell", "open_questions.html", values)
