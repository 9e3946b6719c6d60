"""The panels of the page of a comparison in their order, one a file."""

from collections.abc import Callable, Mapping

from preflens.records.comparison import Comparison
from preflens.report.comparison_panels.answer import answer
from preflens.report.comparison_panels.first_step import first_step
from preflens.report.comparison_panels.open_questions import open_questions
from preflens.report.comparison_panels.pairs_that_sink import pairs_that_sink
from preflens.report.comparison_panels.real_steps import real_steps
from preflens.report.comparison_panels.repeat_comparison import repeat_comparison
from preflens.report.comparison_panels.rollout import rollout
from preflens.report.comparison_panels.what_was_compared import what_was_compared
from preflens.report.section import Section

ComparisonPanel = Callable[[Comparison], Section | None]

COMPARISON_PANELS: Mapping[str, ComparisonPanel] = {
    f.__name__: f
    for f in (
        answer, first_step, rollout, real_steps, pairs_that_sink, what_was_compared, open_questions, repeat_comparison
    )
}  # fmt: skip

__all__ = ["COMPARISON_PANELS", "ComparisonPanel"]
