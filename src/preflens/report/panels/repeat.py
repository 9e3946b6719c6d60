"""How to compute the same numbers again."""

from preflens.records.comparison import Comparison
from preflens.report.section import Record, Section


def repeat(record: Record) -> Section:
    """Give the command, or the arguments, and the versions.

    Args:
        record: an analysis or a comparison.

    Returns:
        A section with the command line, or with the arguments of a call from Python.
    """
    values = {
        "command": record.metadata.command,
        "arguments": record.metadata.arguments,
        "versions": record.metadata.versions,
        "function": "compare" if isinstance(record, Comparison) else "analyze",
    }
    return Section("Repeat this", values)
