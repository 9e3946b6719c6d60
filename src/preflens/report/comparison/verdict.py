"""The verdict of a comparison, in words."""

from preflens.records.comparison import Comparison
from preflens.records.comparison_wording import verdict
from preflens.report.section import Section


def answer(comparison: Comparison) -> Section:
    """Say which objectives raise, hold or sink the chosen answers.

    Args:
        comparison: what was found.

    Returns:
        The first section of the page.
    """
    return Section("Which objective suits these pairs?", "answer.html", {"verdict": verdict(comparison.facts)})
