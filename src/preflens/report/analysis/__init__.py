"""The panels of the report in their order, one a file."""

from collections.abc import Callable, Mapping

from preflens.records.analysis import Analysis
from preflens.report.analysis.cosines import cosines
from preflens.report.analysis.data import data
from preflens.report.analysis.geometry import geometry
from preflens.report.analysis.layers import layers
from preflens.report.analysis.limits import limits
from preflens.report.analysis.norms import norms
from preflens.report.analysis.outcomes import outcomes
from preflens.report.analysis.pairs import pairs
from preflens.report.analysis.repeat import repeat
from preflens.report.analysis.verdict import verdict
from preflens.report.analysis.verification import verification
from preflens.report.section import Section

Panel = Callable[[Analysis], Section | None]

PANELS: Mapping[str, Panel] = {
    f.__name__: f
    for f in (verdict, outcomes, geometry, verification, norms, cosines, layers, pairs, data, limits, repeat)
}

__all__ = ["PANELS", "Panel"]
