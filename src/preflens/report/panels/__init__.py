"""The panels of the pages, one per file, and their order on the page of an analysis and on that of a comparison."""

from collections.abc import Callable, Mapping

from preflens.records.analysis import Analysis
from preflens.records.comparison import Comparison
from preflens.report.panels.cosines import cosines
from preflens.report.panels.data import data
from preflens.report.panels.first_step import first_step
from preflens.report.panels.geometry import geometry
from preflens.report.panels.glossary import glossary
from preflens.report.panels.harmful_pairs import harmful_pairs
from preflens.report.panels.layers import layers
from preflens.report.panels.limits import limits
from preflens.report.panels.norms import norms
from preflens.report.panels.outcomes import outcomes
from preflens.report.panels.pairs import pairs
from preflens.report.panels.real_steps import real_steps
from preflens.report.panels.repeat import repeat
from preflens.report.panels.rollouts import rollouts
from preflens.report.panels.verdict import verdict
from preflens.report.section import Record, Section

AnalysisPanel = Callable[[Analysis], Section | None]
ComparisonPanel = Callable[[Comparison], Section | None]

PANELS: Mapping[str, AnalysisPanel] = {
    panel.__name__: panel
    for panel in (
        verdict, outcomes, geometry, real_steps, norms, cosines, layers, pairs, data, limits, repeat, glossary
    )
}  # fmt: skip

COMPARISON_PANELS: Mapping[str, ComparisonPanel] = {
    panel.__name__: panel
    for panel in (verdict, first_step, rollouts, real_steps, harmful_pairs, data, limits, repeat, glossary)
}


def sections(record: Record) -> dict[str, Section]:
    """Return the sections of a page in their order.

    Args:
        record: an analysis or a comparison.

    Returns:
        Sections by the name of their panel, without those that have nothing to show.
    """
    if isinstance(record, Comparison):
        drawn = {name: panel(record) for name, panel in COMPARISON_PANELS.items()}
    else:
        drawn = {name: panel(record) for name, panel in PANELS.items()}
    return {name: section for name, section in drawn.items() if section is not None}


__all__ = ["COMPARISON_PANELS", "PANELS", "AnalysisPanel", "ComparisonPanel", "sections"]
