"""Cosines of the two gradients of each pair."""

import plotly.graph_objects as go

from preflens.records.analysis import Analysis
from preflens.report.plots import CHOSEN, plot
from preflens.report.section import Section


def cosines(analysis: Analysis) -> Section:
    """Draw the distribution of the cosine between the chosen and the rejected gradient.

    Args:
        analysis: the record to show.

    Returns:
        A section with a histogram.
    """
    pair_cosines = analysis.pairs["cosine"].drop_null().to_numpy()
    bins = {"start": -1, "end": 1.0001, "size": 0.05}
    figure = go.Figure(go.Histogram(x=pair_cosines.round(4), xbins=bins, marker={"color": CHOSEN}, name="pairs"))
    figure.update_xaxes(title="cosine of the two gradients", range=[-1.02, 1.02])
    figure.update_yaxes(title="pairs")
    values = {
        "plot": plot(figure, name="cosines", height=340),
        "geometry": analysis.metadata.geometry,
        "without": analysis.pairs["cosine"].null_count,
    }
    return Section("Cosines", values)
