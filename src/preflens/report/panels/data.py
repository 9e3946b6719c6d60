"""Which pairs and which model this is about."""

from preflens.records.analysis import Analysis
from preflens.report.section import Section


def data(analysis: Analysis) -> Section:
    """List what was read, dropped and cut, and what the model is.

    Args:
        analysis: what was found.

    Returns:
        A section with two lists.
    """
    facts = analysis.facts
    return Section("Data and model", "data.html", {"data": facts.data, "model": facts.model, "seconds": facts.seconds})
