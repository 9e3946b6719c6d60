"""The verdict of a comparison, in words."""

from preflens.records.comparison import Comparison
from preflens.records.comparison_wording import comparison_verdict
from preflens.report.section import Section


def verdict(comparison: Comparison) -> Section:
    """Say which objectives raise, hold or sink the chosen answers.

    Args:
        comparison: what was found.

    Returns:
        The first section of the page.
    """
    return Section(
        "Which objective suits these pairs?", "answer.html", {"verdict": comparison_verdict(comparison.metadata)}
    )
