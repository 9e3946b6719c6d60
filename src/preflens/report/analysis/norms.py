"""How large the gradients of the two sides are."""

import plotly.graph_objects as go
import pyarrow.compute as pc

from preflens.records.analysis import Analysis
from preflens.report.plots import CHOSEN, REJECTED, plot
from preflens.report.section import Section


def norms(analysis: Analysis) -> Section:
    """Show the distribution of gradient norms of chosen and rejected responses.

    Args:
        analysis: what was found.

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
    figure.update_xaxes(title="log₁₀ of the gradient norm (nats per parameter unit)")
    figure.update_yaxes(title="pairs")
    return Section("Norms", "norms.html", {"plot": plot(figure, name="norms"), "geometry": analysis.metadata.geometry})
