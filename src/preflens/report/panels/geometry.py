"""Entanglement of every pair, drawn with the band in which both sides change as intended."""

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from preflens.records.analysis import Analysis
from preflens.report.plots import CHOSEN, hover_text, plot, thinned
from preflens.report.section import Section

_RATIO = "coefficient ratio d<sub>w</sub>/d<sub>l</sub>"
_NORMS = "norm ratio ‖g<sub>l</sub>‖/‖g<sub>w</sub>‖"


def geometry(analysis: Analysis) -> Section:
    """Draw the cosine against log(r/r*), one point per pair and objective, with the edge of the band.

    Args:
        analysis: the record to show.

    Returns:
        A section with the plot.
    """
    drawn = analysis.pairs.take(thinned(analysis.pairs.num_rows))
    figure, widths, hidden = go.Figure(), [], {}
    for number, objective in enumerate(analysis.metadata.objectives):
        rows = analysis.objectives.filter(pc.field("objective") == objective.label)
        rows = rows.take(thinned(rows.num_rows))
        x = _log_ratio(drawn, rows)
        shown = np.isfinite(x)
        hidden[objective.label] = int((~shown).sum())
        widths.append(max(1.0, 1.1 * float(np.abs(x[shown]).max(initial=0.0))))
        figure.add_scatter(
            x=x[shown].round(4),
            y=_floats(drawn, "cosine")[shown].round(4),
            mode="markers",
            name="pairs",
            visible=number == 0,
            marker={"color": CHOSEN, "size": 7, "opacity": 0.6, "line": {"width": 0.5, "color": "#fff"}},
            text=[label for label, s in zip(_labels(drawn, rows), shown, strict=True) if s],
            hovertemplate="%{text}<br>log(r/r*) %{x:.3f}, cosine %{y:.3f}<extra></extra>",
        )
    _draw_band(figure, max(widths))
    _draw_choice(figure, [o.label for o in analysis.metadata.objectives], widths)
    values = {"plot": plot(figure, name="geometry", height=560), "drawn": drawn.num_rows,
              "total": analysis.pairs.num_rows, "hidden": {k: n for k, n in hidden.items() if n}}  # fmt: skip
    return Section("Geometry: which pairs are entangled", values)


def _log_ratio(pairs: pa.Table, rows: pa.Table) -> np.ndarray:
    """Return the log of d_w/d_l over ‖g_l‖/‖g_w‖, NaN unless the two coefficients are positive."""
    chosen, rejected = _floats(rows, "chosen_coefficient"), _floats(rows, "rejected_coefficient")
    with np.errstate(divide="ignore", invalid="ignore"):
        norms = _floats(pairs, "chosen_sq_norm") / _floats(pairs, "rejected_sq_norm")
        value = np.log(chosen / rejected) + 0.5 * np.log(norms)
    return np.where((chosen > 0) & (rejected > 0), value, np.nan)


def _labels(pairs: pa.Table, rows: pa.Table) -> list[str]:
    texts = zip(*(pairs[c].to_pylist() for c in ("id", "prompt", "chosen", "rejected")), strict=True)
    outcomes = rows["outcome"].to_pylist()
    return [
        f"<b>{hover_text(i)}</b>: {o.replace('_', ' ')}<br>… {hover_text(p[-80:])}"
        f"<br>chosen: {hover_text(w, limit=70)}<br>rejected: {hover_text(r, limit=70)}"
        for (i, p, w, r), o in zip(texts, outcomes, strict=True)
    ]


def _draw_band(figure: go.Figure, widest: float) -> None:
    """Draw the band, its edge, and the outcome inside and beside it."""
    x = np.unique(np.concatenate([np.linspace(-widest, widest, 101), np.linspace(-4, 4, 161)])).round(4)
    edge = np.exp(-np.abs(x)).round(4)
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]), y=np.concatenate([edge, np.full_like(x, -1.0)]), fill="toself", mode="lines",
        line={"width": 0}, fillcolor="rgba(0,158,115,0.10)", hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    line = {"color": "#009E73", "width": 2}
    figure.add_scatter(x=x, y=edge, mode="lines", line=line, name="edge of the band", hoverinfo="skip")
    for words, side, height in (
        ("both fall", 0.08, 0.9),
        ("both rise", 0.92, 0.9),
        ("chosen rises, rejected falls", 0.5, -0.9),
    ):
        figure.add_annotation(
            x=side, xref="x domain", y=height, text=f"<i>{words}</i>", showarrow=False, font={"color": "#555"}
        )
    figure.update_xaxes(title=f"log(r/r*): {_RATIO}<br>over {_NORMS}")
    figure.update_yaxes(title="cosine of the two gradients", range=[-1.02, 1.05])


def _draw_choice(figure: go.Figure, labels: list[str], widths: list[float]) -> None:
    """Add a menu of objectives. Each has its own points and horizontal range."""
    figure.update_xaxes(range=[-widths[0], widths[0]])
    if len(labels) == 1:
        return
    buttons = [
        {
            "label": hover_text(label),
            "method": "update",
            "args": [{"visible": [k == i for k in range(len(labels))] + [True, True]},
                     {"xaxis.range": [-width, width]}],
        }
        for i, (label, width) in enumerate(zip(labels, widths, strict=True))
    ]  # fmt: skip
    figure.update_layout(
        updatemenus=[{"buttons": buttons, "x": 1.0, "xanchor": "right", "y": 1.09, "yanchor": "bottom"}],
        margin={"t": 96},  # the menu is above the legend, which takes the whole width of a narrow page
    )


def _floats(table: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = table[name].cast(pa.float64()).to_numpy()
    return values
