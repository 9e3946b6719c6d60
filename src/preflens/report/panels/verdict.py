"""The answer in words."""

from preflens.records.analysis_wording import verdicts
from preflens.records.comparison import Comparison
from preflens.records.comparison_wording import comparison_verdict
from preflens.report.section import Record, Section


def verdict(record: Record) -> Section:
    """State how a step changes the mean chosen and rejected log-probs.

    Args:
        record: an analysis (one card per direction of step) or a comparison (one card for all objectives).

    Returns:
        The first section of the page.
    """
    if isinstance(record, Comparison):
        answer = comparison_verdict(record.metadata)
        direction = answer.parts[0][0] if len(answer.parts) == 1 else ""
        card = {"direction": direction, "labels": (), "headline": answer.headline, "parts": answer.parts, "detail": ()}
        values = {"cards": [card], "detail": answer.detail, "held_out": True}
        return Section("Which objective suits these pairs?", values)
    cards = [
        {"direction": v.direction, "labels": v.labels, "headline": v.headline, "parts": (), "detail": v.detail}
        for v in verdicts(record.metadata)
    ]
    return Section("Will the chosen answers become more likely?", {"cards": cards, "detail": (), "held_out": False})
