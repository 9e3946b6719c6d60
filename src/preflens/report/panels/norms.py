"""Norms of the chosen and the rejected gradients."""

import plotly.graph_objects as go
import pyarrow.compute as pc

from preflens.records.analysis import Analysis
from preflens.report.plots import CHOSEN, REJECTED, plot
from preflens.report.section import Section


def norms(analysis: Analysis) -> Section:
    """Draw the distributions of the gradient norms of chosen and rejected responses.

    Args:
        analysis: the record to show.

    Returns:
        A section with two overlaid histograms.
    """
    figure = go.Figure()
    for side, colour in (("chosen", CHOSEN), ("rejected", REJECTED)):
        values = pc.log10(pc.sqrt(analysis.pairs[f"{side}_sq_norm"])).to_numpy()
        figure.add_histogram(
            x=values[values > -300].round(4), name=side, nbinsx=40, opacity=0.6, marker={"color": colour}
        )
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title="log₁₀ of the gradient norm")
    figure.update_yaxes(title="pairs")
    return Section("Norms", {"plot": plot(figure, name="norms"), "geometry": analysis.metadata.geometry})
