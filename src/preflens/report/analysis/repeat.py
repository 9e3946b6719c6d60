"""How to get the same numbers again."""

from preflens.records.analysis import Analysis
from preflens.report.section import Section


def repeat(analysis: Analysis) -> Section:
    """Give the command and the versions.

    Args:
        analysis: what was found.

    Returns:
        The last section of the page.
    """
    facts = analysis.facts
    values = {"command": facts.command, "arguments": facts.arguments, "versions": facts.versions, "function": "analyze"}
    return Section("Repeat this", "repeat.html", values)
