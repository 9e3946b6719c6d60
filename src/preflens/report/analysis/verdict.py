"""The answer, in words."""

from preflens.records.analysis import Analysis
from preflens.records.analysis_wording import verdicts
from preflens.report.section import Section


def verdict(analysis: Analysis) -> Section:
    """Say what a step does to the mean chosen and rejected log-prob.

    Args:
        analysis: what was found.

    Returns:
        The first section of the page.
    """
    values = {"verdicts": verdicts(analysis.metadata)}
    return Section("Will the chosen answers become more likely?", "verdict.html", values)
