"""The style of all plots of the page."""

from html import escape

import plotly.graph_objects as go
import plotly.io as pio
from markupsafe import Markup

from preflens.records.visible_characters import visible

# Okabe and Ito's colours, distinguishable with any colour vision.
CHOSEN, REJECTED = "#0072B2", "#D55E00"
OUTCOME_COLOURS = {
    "intended": "#009E73",
    "both_fall": "#CC79A7",
    "both_rise": "#E69F00",
    "reversed": "#56B4E9",
    "unchanged": "#999999",
}

MAX_POINTS = 4000  # more make the page slow and the plot no clearer

_AXIS = {"gridcolor": "#e6e6e6", "zerolinecolor": "#b0b0b0", "linecolor": "#b0b0b0", "automargin": True}
_LAYOUT = go.Layout(
    font={"family": "system-ui, sans-serif", "size": 13, "color": "#222"},
    paper_bgcolor="rgba(0,0,0,0)",
    plot_bgcolor="#fff",
    margin={"l": 64, "r": 16, "t": 24, "b": 56},
    legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    hoverlabel={"align": "left"},
    xaxis=_AXIS,
    yaxis=_AXIS,
)
_TEMPLATE = go.layout.Template(layout=_LAYOUT)


def plot(figure: go.Figure, *, name: str, height: int = 420) -> Markup:
    """Return a figure as a piece of the page.

    Args:
        figure: the plot.
        name: unique on the page.
        height: pixels.

    Returns:
        HTML. Plotly escapes the data of the figure for the script that holds them.
    """
    figure.update_layout(template=_TEMPLATE, height=height)
    html = pio.to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        div_id=f"plot-{name}",
        config={"displaylogo": False, "displayModeBar": False, "responsive": True},
    )
    return Markup(html)  # see Returns


def hover_text(text: str, *, limit: int = 90) -> str:
    """Return a text as one line for a hover label, where plotly interprets some HTML.

    Args:
        text: any text.
        limit: characters to keep.

    Returns:
        One escaped line in which hidden characters are spelt out.
    """
    line = " ".join(visible(text).split())
    return escape(line if len(line) <= limit else line[: limit - 1] + "…", quote=False)


def thinned(count: int) -> list[int]:
    """Return the indices of the points to draw.

    Args:
        count: number of points.

    Returns:
        Indices, evenly spread, at most `MAX_POINTS`.
    """
    return list(range(0, count, -(-count // MAX_POINTS))) if count else []
