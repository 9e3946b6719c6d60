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
    metadata = analysis.metadata
    values = {
        "command": metadata.command,
        "arguments": metadata.arguments,
        "versions": metadata.versions,
        "function": "analyze",
    }
    return Section("Repeat this", "repeat.html", values)
