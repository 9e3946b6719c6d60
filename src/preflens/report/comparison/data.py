"""Which pairs and which model this is about."""

from preflens.records.analysis_wording import batches, reference_in_full
from preflens.records.comparison import Comparison
from preflens.report.section import Section


def data(comparison: Comparison) -> Section:
    """List training pairs, held-out pairs and the model.

    Args:
        comparison: what was found.

    Returns:
        A section with three lists.
    """
    metadata = comparison.metadata
    values = {
        "parts": {"Training pairs": metadata.data, "Held-out pairs": metadata.probe}, "before": metadata.before_split,
        "model": metadata.model, "reference": reference_in_full(metadata.model.reference), "seconds": metadata.seconds,
        "update_batches": batches(metadata.update_batches),
        "per_pair": metadata.per_pair,
    }  # fmt: skip
    return Section("Data and model", "what_was_compared.html", values)
