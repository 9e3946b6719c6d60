"""Definitions of the terms that the page uses."""

from preflens.report.section import Record, Section
from preflens.report.terms import TERMS, anchor


def glossary(record: Record) -> Section:  # noqa: ARG001
    """List the terms in a folded section, with an anchor for each.

    Args:
        record: an analysis or a comparison; the section is the same for all.

    Returns:
        The last section of the page.
    """
    return Section("Glossary", {"terms": [(anchor(name), name, text) for name, text in TERMS.items()]})
