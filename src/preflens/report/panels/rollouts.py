"""Many steps with the gradients held fixed: chosen change against rejected change, one curve per objective."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import median

import plotly.graph_objects as go

from preflens.records.analysis_wording import batches
from preflens.records.comparison import Comparison
from preflens.records.comparison_groups import rescaled
from preflens.records.comparison_metadata import EQUAL_MARGIN, LEARNING_RATE, ObjectiveComparison, Trajectory
from preflens.report.plots import hover_text, plot
from preflens.report.section import Section

# Okabe and Ito's colours, distinguishable with any colour vision, and one neutral. Symbols repeat the distinction.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "star", "cross", "hexagon")
_FAR = 100  # times the median distance from the start: an end beyond it would squeeze all others together
_SCALES = {EQUAL_MARGIN: "equal margin gain", LEARNING_RATE: "given learning rate"}


def rollouts(comparison: Comparison) -> Section:
    """Draw the rollout of every objective, and for each grid a curve through the ends.

    Args:
        comparison: the record to show.

    Returns:
        A section with a table of the horizons, and with a plot, at a choice of scales, of the rollouts there are.
    """
    objectives = comparison.metadata.objectives
    names = list(dict.fromkeys(o.name for o in objectives))
    shown = EQUAL_MARGIN if any(map(rescaled, objectives)) else LEARNING_RATE
    figure, curves = go.Figure(), []
    for scale in _SCALES:
        before = len(figure.data)
        for number, name in enumerate(names):
            _draw(figure, [o for o in objectives if o.name == name], scale, number, visible=scale == shown)
        curves.append(len(figure.data) - before)
    _buttons(figure, curves, active=list(_SCALES).index(shown))
    figure.add_hline(y=0, line={"color": "#b0b0b0"})
    figure.add_vline(x=0, line={"color": "#b0b0b0"})
    ends = {o.label: _last(t) for o in objectives for t in o.trajectories if t.scale == shown}
    (rejected, outside_x), (chosen, outside_y) = (_axis_range({n: e[side] for n, e in ends.items()}) for side in (1, 0))
    figure.update_xaxes(title="held-out mean rejected change<br>since the start, nats", range=rejected)
    figure.update_yaxes(title="held-out mean chosen change<br>since the start, nats", range=chosen)
    horizons = [int(h) for h in str(comparison.metadata.arguments["horizon"]).split(",")]
    rows = [_row(o, horizons) for o in objectives]
    values = {"plot": plot(figure, name="rollouts", height=560 + 12 * len(names)) if ends else None, "rows": rows,
              "horizons": horizons,
              "followed": comparison.metadata.followed, "gain": comparison.metadata.arguments["margin_gain"],
              "pairs": (comparison.metadata.data.pairs, comparison.metadata.probe.pairs),
              "outside": sorted(outside_x | outside_y),
              "stepping": batches(_followed(comparison))}  # fmt: skip
    return Section("Many steps: the rollout", values)


def _followed(comparison: Comparison) -> list[int]:
    """Return the number of pairs in each update batch that is followed: the first ones."""
    sizes, training = comparison.metadata.update_batches, comparison.metadata.followed[0]
    return [size for size, end in zip(sizes, accumulate(sizes), strict=True) if end <= training]


def _draw(
    figure: go.Figure, objectives: Sequence[ObjectiveComparison], scale: str, number: int, *, visible: bool
) -> None:
    """Draw the trajectories of one objective and its grid, and a curve through their ends."""
    colour, symbol = _COLOURS[number % len(_COLOURS)], _SYMBOLS[(number // len(_COLOURS)) % len(_SYMBOLS)]
    paths = [(o, t) for o in objectives for t in o.trajectories if t.scale == scale]
    for order, (objective, path) in enumerate(paths):
        chosen, rejected, steps = _finite(path)
        figure.add_scatter(
            x=rejected, y=chosen, mode="lines+markers", name=hover_text(objective.name, limit=40), visible=visible,
            legendgroup=str(number), showlegend=order == 0, line={"color": colour, "width": 1.5}, opacity=0.85,
            marker={"color": colour, "symbol": symbol, "size": [0] * (len(steps) - 1) + [11]},
            text=[f"<b>{hover_text(objective.label)}</b>, step {s}" for s in steps],
            hovertemplate="%{text}<br>rejected %{x:.4g}, chosen %{y:.4g} nats<extra></extra>",
        )  # fmt: skip
    ends = [(o, *_last(t)) for o, t in sorted(paths, key=lambda item: tuple(item[0].parameters.values()))]
    if len(ends) > 1:
        figure.add_scatter(
            x=[e[2] for e in ends], y=[e[1] for e in ends], mode="lines", visible=visible, showlegend=False,
            legendgroup=str(number), line={"color": colour, "width": 2, "dash": "dot"}, hoverinfo="skip",
        )  # fmt: skip


def _finite(path: Trajectory) -> tuple[list[float], list[float], list[int]]:
    rows = [
        (chosen, rejected, step)
        for chosen, rejected, step in zip(path.heldout_chosen, path.heldout_rejected, path.steps, strict=True)
        if chosen is not None and rejected is not None
    ]
    return [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]


def _last(path: Trajectory) -> tuple[float, float]:
    chosen, rejected, _ = _finite(path)
    return chosen[-1], rejected[-1]


def _axis_range(ends: Mapping[str, float]) -> tuple[list[float] | None, set[str]]:
    """Return the range of an axis that shows most ends well, and the labels of the ends outside of it."""
    if not ends:
        return None, set()
    far = _FAR * median(abs(end) for end in ends.values())
    inside = [0.0, *(end for end in ends.values() if abs(end) <= far)]
    room = 0.06 * (max(inside) - min(inside) or 1.0)
    return [min(inside) - room, max(inside) + room], {label for label, end in ends.items() if abs(end) > far}


def _buttons(figure: go.Figure, curves: Sequence[int], *, active: int) -> None:
    """Add a choice of scales. Each has its own curves."""
    flags = [[k == scale for k, count in enumerate(curves) for _ in range(count)] for scale in range(len(curves))]
    buttons = [
        {
            "label": label,
            "method": "update",
            "args": [{"visible": visible}, {"xaxis.autorange": True, "yaxis.autorange": True}],
        }
        for label, visible in zip(_SCALES.values(), flags, strict=True)
    ]
    figure.update_layout(
        updatemenus=[
            {"buttons": buttons, "active": active, "x": 1.0, "xanchor": "right", "y": 1.02, "yanchor": "bottom"}
        ],
        legend={"y": -0.2, "yanchor": "top"},  # below: beside the plot it would take half of a narrow page
    )


def _row(objective: ObjectiveComparison, horizons: Sequence[int]) -> Mapping[str, object]:
    path = rescaled(objective)
    if path is None:
        return {"label": objective.label, "rate": None, "cells": [(None, None)] * len(horizons), "notes": ""}
    indices = [path.steps.index(h) for h in horizons]
    why = "log-probs diverge" if path.impossible_from is None else "a log-prob would be above zero"
    cells = [(path.heldout_chosen[i], path.heldout_rejected[i]) for i in indices]
    return {
        "label": objective.label,
        "rate": path.learning_rate,
        "cells": cells,
        "notes": "" if path.ended is None else f"ends before step {path.ended}: {why}",
    }
