"""The panels of the page of a comparison in their order, one a file."""

from collections.abc import Callable, Mapping

from preflens.records.comparison import Comparison
from preflens.report.comparison.data import what_was_compared
from preflens.report.comparison.first_step import first_step
from preflens.report.comparison.harmful_pairs import pairs_that_sink
from preflens.report.comparison.limits import open_questions
from preflens.report.comparison.real_steps import real_steps
from preflens.report.comparison.repeat import repeat_comparison
from preflens.report.comparison.rollouts import rollout
from preflens.report.comparison.verdict import answer
from preflens.report.section import Section

ComparisonPanel = Callable[[Comparison], Section | None]

COMPARISON_PANELS: Mapping[str, ComparisonPanel] = {
    f.__name__: f
    for f in (
        answer, first_step, rollout, real_steps, pairs_that_sink, what_was_compared, open_questions, repeat_comparison
    )
}  # fmt: skip

__all__ = ["COMPARISON_PANELS", "ComparisonPanel"]
