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
    metadata = analysis.metadata
    values = {
        "data": metadata.data,
        "model": metadata.model,
        "reference": reference_in_full(metadata.model.reference),
        "seconds": metadata.seconds,
        "update_batches": batches(metadata.update_batches),
    }
    return Section("Data and model", "data.html", values)
