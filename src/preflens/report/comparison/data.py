"""Which pairs and which model this is about."""

from preflens.records.analysis_wording import batches, reference_in_full
from preflens.records.comparison import Comparison
from preflens.report.section import Section


def what_was_compared(comparison: Comparison) -> Section:
    """List training pairs, held-out pairs and the model.

    Args:
        comparison: what was found.

    Returns:
        A section with three lists.
    """
    facts = comparison.facts
    values = {
        "parts": {"Training pairs": facts.data, "Held-out pairs": facts.probe}, "before": facts.before_split,
        "model": facts.model, "reference": reference_in_full(facts.model.reference), "seconds": facts.seconds,
        "update_batches": batches(facts.update_batches),
        "per_pair": facts.per_pair,
    }  # fmt: skip
    return Section("Data and model", "what_was_compared.html", values)
