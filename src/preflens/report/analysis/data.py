"""Which pairs and which model this is about."""

from preflens.records.analysis import Analysis
from preflens.records.analysis_wording import batches, reference_in_full
from preflens.report.section import Section


def data(analysis: Analysis) -> Section:
    """List what was read, dropped and cut, and what the model is.

    Args:
        analysis: what was found.

    Returns:
        A section with two lists.
    """
    facts = analysis.facts
    values = {
        "data": facts.data,
        "model": facts.model,
        "reference": reference_in_full(facts.model.reference),
        "seconds": facts.seconds,
        "update_batches": batches(facts.update_batches),
    }
    return Section("Data and model", "data.html", values)
