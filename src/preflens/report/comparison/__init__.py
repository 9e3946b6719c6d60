"""The panels of the page of a comparison in their order, one a file."""

from collections.abc import Callable, Mapping

from preflens.records.comparison import Comparison
from preflens.report.comparison.data import data
from preflens.report.comparison.first_step import first_step
from preflens.report.comparison.harmful_pairs import harmful_pairs
from preflens.report.comparison.limits import limits
from preflens.report.comparison.real_steps import real_steps
from preflens.report.comparison.repeat import repeat
from preflens.report.comparison.rollouts import rollouts
from preflens.report.comparison.verdict import verdict
from preflens.report.section import Section

ComparisonPanel = Callable[[Comparison], Section | None]

COMPARISON_PANELS: Mapping[str, ComparisonPanel] = {
    f.__name__: f
    for f in (
        verdict, first_step, rollouts, real_steps, harmful_pairs, data, limits, repeat
    )
}  # fmt: skip

__all__ = ["COMPARISON_PANELS", "ComparisonPanel"]
