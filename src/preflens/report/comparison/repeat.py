"""How to get the same numbers again."""

from preflens.records.comparison import Comparison
from preflens.report.section import Section


def repeat(comparison: Comparison) -> Section:
    """Give the command and the versions.

    Args:
        comparison: what was found.

    Returns:
        The last section of the page.
    """
    metadata = comparison.metadata
    values = {
        "command": metadata.command,
        "arguments": metadata.arguments,
        "versions": metadata.versions,
        "function": "compare",
    }
    return Section("Repeat this", "repeat.html", values)
