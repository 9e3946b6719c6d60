"""What the numbers do not tell."""

from preflens.records.analysis_wording import OWN
from preflens.records.comparison import Comparison
from preflens.report.section import Section


def open_questions(comparison: Comparison) -> Section:
    """State what was assumed.

    Args:
        comparison: what was found.

    Returns:
        A section of text.
    """
    facts = comparison.facts
    values = {
        "own": facts.model.reference in OWN,
        "selection": facts.model.selection,
        "verified": bool(facts.real_steps),
        "followed": facts.followed,
        "pairs": (facts.data.pairs, facts.probe.pairs),
    }
    return Section("What this does not tell", "open_questions.html", values)
