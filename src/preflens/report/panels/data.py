"""The pairs and the model that the numbers are about."""

from preflens.records.analysis_wording import batches, reference_in_full
from preflens.records.comparison import Comparison
from preflens.records.comparison_metadata import BeforeSplit
from preflens.report.section import Record, Section


def data(record: Record) -> Section:
    """List the pairs that were read, dropped and cut, and the properties of the model.

    Args:
        record: an analysis or a comparison.

    Returns:
        A section with one list per set of pairs and one for the model.
    """
    metadata = record.metadata
    values = {
        "groups": [("Pairs", metadata.data, batches(metadata.update_batches))],
        "before_split": [],
        "model": metadata.model,
        "reference": reference_in_full(metadata.model.reference),
        "per_pair": None,
        "seconds": metadata.seconds,
    }
    if isinstance(record, Comparison):
        compared = record.metadata
        values["groups"] = [
            ("Training pairs", compared.data, batches(compared.update_batches)),
            ("Held-out pairs", compared.probe, ""),
        ]
        values["before_split"] = _counts(compared.before_split)
        values["per_pair"] = compared.per_pair
    return Section("Data and model", values)


def _counts(split: BeforeSplit | None) -> list[str]:
    """State what was dropped and noted before some pairs were held out."""
    if split is None:
        return []
    counts = (("dropped", split.dropped), ("noted", split.noted))
    return [f"{verb} {count} × {reason}" for verb, reasons in counts for reason, count in reasons.items()]
