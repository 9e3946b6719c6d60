"""The panels of the report in their order, one a file."""

from collections.abc import Callable, Mapping

from preflens.records.analysis import Analysis
from preflens.report.panels.cosines import cosines
from preflens.report.panels.data import data
from preflens.report.panels.geometry import geometry
from preflens.report.panels.layers import layers
from preflens.report.panels.limits import limits
from preflens.report.panels.norms import norms
from preflens.report.panels.outcomes import outcomes
from preflens.report.panels.pairs import pairs
from preflens.report.panels.repeat import repeat
from preflens.report.panels.verdict import verdict
from preflens.report.panels.verification import verification
from preflens.report.section import Section

Panel = Callable[[Analysis], Section | None]

PANELS: Mapping[str, Panel] = {
    f.__name__: f
    for f in (verdict, outcomes, geometry, verification, norms, cosines, layers, pairs, data, limits, repeat)
}

__all__ = ["PANELS", "Panel"]
