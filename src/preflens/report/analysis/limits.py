"""What the numbers do not tell."""

from preflens.records.analysis import Analysis
from preflens.records.analysis_wording import EQUAL_TO_POLICY
from preflens.report.section import Section


def limits(analysis: Analysis) -> Section:
    """State what was assumed.

    Args:
        analysis: what was found.

    Returns:
        A section of text.
    """
    metadata = analysis.metadata
    return Section("What this does not tell", "limits.html", {"selection": metadata.model.selection,
                   "own": metadata.model.reference in EQUAL_TO_POLICY,
                   "verified": bool(metadata.verification)})  # fmt: skip
