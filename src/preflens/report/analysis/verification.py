"""Forecast beside fact: real steps taken and undone."""

import plotly.graph_objects as go

from preflens.records.analysis import Analysis
from preflens.report.plots import CHOSEN, REJECTED, hover_text, plot
from preflens.report.section import Section


def verification(analysis: Analysis) -> Section | None:
    """Plot what happened against what was forecast.

    Args:
        analysis: what was found.

    Returns:
        A section, or nothing if no real step was taken.
    """
    found = analysis.metadata.verification
    if not found:
        return None
    first = found[0]
    figure = go.Figure()
    for side, colour, symbol in (("chosen", CHOSEN, "circle"), ("rejected", REJECTED, "diamond")):
        here = [i for i, s in enumerate(first.sides) if s == side]
        figure.add_scatter(
            x=[first.forecast[i] for i in here],
            y=[first.measured[i] for i in here],
            text=[hover_text(first.ids[i]) for i in here],
            mode="markers",
            name=side,
            marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.75},
            hovertemplate="%{text}<br>forecast %{x:.3g}, measured %{y:.3g} nats<extra></extra>",
        )
    ends = [min(first.forecast), max(first.forecast)]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", name="equal", line={"color": "#888", "dash": "dot"}, hoverinfo="skip"
    )
    figure.update_xaxes(title="forecast change, nats")
    figure.update_yaxes(title="measured change, nats")
    values = {"plot": plot(figure, name="verification", height=460), "found": found}
    return Section("Forecast and fact", "verification.html", values)
