"""How every plot of the report looks."""

from html import escape

import plotly.graph_objects as go
import plotly.io as pio
from markupsafe import Markup

from preflens.records.visible_characters import visible

# Okabe and Ito's colours, told apart with any colour vision.
CHOSEN, REJECTED = "#0072B2", "#D55E00"
OUTCOME_COLOURS = {
    "intended": "#009E73",
    "both_fall": "#CC79A7",
    "both_rise": "#E69F00",
    "reversed": "#56B4E9",
    "unchanged": "#999999",
}

MAX_POINTS = 4000  # more make the page slow and the picture no clearer

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
    """Turn a figure into a piece of the page.

    Args:
        figure: the plot.
        name: unique on the page.
        height: pixels.

    Returns:
        HTML; plotly escapes what stands in the figure's data for the script it stands in.
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
    """Prepare a text for a hover label, where plotly would read a little HTML.

    Args:
        text: any text.
        limit: characters to keep.

    Returns:
        One escaped line without hidden characters.
    """
    line = " ".join(visible(text).split())
    return escape(line if len(line) <= limit else line[: limit - 1] + "…", quote=False)


def thinned(count: int) -> list[int]:
    """Choose the points to draw.

    Args:
        count: how many there are.

    Returns:
        Their positions, evenly spread, at most `MAX_POINTS`.
    """
    return list(range(0, count, -(-count // MAX_POINTS))) if count else []
