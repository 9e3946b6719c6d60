"""How to get the same numbers again."""

from preflens.records.comparison import Comparison
from preflens.report.section import Section


def repeat_comparison(comparison: Comparison) -> Section:
    """Give the command and the versions.

    Args:
        comparison: what was found.

    Returns:
        The last section of the page.
    """
    facts = comparison.facts
    values = {"command": facts.command, "arguments": facts.arguments, "versions": facts.versions, "function": "compare"}
    return Section("Repeat this", "repeat.html", values)
