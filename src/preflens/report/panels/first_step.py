"""The first step of every objective: chosen change against rejected change, one point per direction."""

from collections.abc import Sequence

import plotly.graph_objects as go

from preflens.records.common import Estimate
from preflens.records.comparison import Comparison
from preflens.records.comparison_groups import Group, groups
from preflens.records.comparison_metadata import ObjectiveComparison
from preflens.report.plots import hover_text, plot
from preflens.report.section import Section

_COLOURS = {"rises": "#009E73", "falls": "#CC79A7", "unclear": "#E69F00"}
_WORDS = {"rises": "raises chosen", "falls": "lowers chosen", "unclear": "no significant change"}


def first_step(comparison: Comparison) -> Section:
    """Draw the change of the held-out means per nat of margin, for each direction of a first step.

    Args:
        comparison: the record to show.

    Returns:
        A section with a table, and with a plot if any margin clearly grows.
    """
    directions = groups(comparison.metadata)
    figure = go.Figure()
    named = _apart(directions)
    for way, colour in _COLOURS.items():
        inside = [g for g in directions if g.direction == way and g.chosen.value is not None]
        if inside:
            _draw(figure, inside, named, name=_WORDS[way], colour=colour)
    figure.add_hline(y=0, line={"color": "#b0b0b0"})
    figure.add_vline(x=0, line={"color": "#b0b0b0"})
    figure.update_xaxes(title="held-out mean rejected change,<br>nats per nat of margin")
    figure.update_yaxes(title="held-out mean chosen change,<br>nats per nat of margin")
    rows = [_row(o, g, first=i == 0) for g in directions for i, o in enumerate(g.members)]
    drawn = any(g.chosen.value is not None for g in directions)
    values = {"plot": plot(figure, name="first_step", height=500) if drawn else None, "rows": rows,
              "learning_rate": comparison.metadata.arguments["learning_rate"]}  # fmt: skip
    return Section("The first step", values)


def _draw(figure: go.Figure, inside: list[Group], named: set[str], *, name: str, colour: str) -> None:
    figure.add_scatter(
        x=[g.rejected.value for g in inside],
        y=[g.chosen.value for g in inside],
        error_x=_bars([g.rejected for g in inside], colour),
        error_y=_bars([g.chosen for g in inside], colour),
        mode="markers+text",
        name=name,
        marker={"color": colour, "size": 11, "line": {"width": 1, "color": "#fff"}},
        text=[_short(g) if g.labels[0] in named else "" for g in inside],
        textposition="top right",
        customdata=[hover_text(", ".join(g.labels), limit=300) for g in inside],
        hovertemplate="%{customdata}<br>rejected %{x:.3f}, chosen %{y:.3f} nats<extra></extra>",
    )


def _apart(directions: Sequence[Group]) -> set[str]:
    """Choose groups that are far enough apart for their names to be readable. The others are named on hover."""
    points = {g.labels[0]: (g.rejected.value or 0.0, g.chosen.value) for g in directions if g.chosen.value is not None}
    widths = [max(axis) - min(axis) or 1.0 for axis in zip(*points.values(), strict=True)]
    named: dict[str, tuple[float, float]] = {}
    for label, (x, y) in points.items():
        clear = all(abs(x - a) > 0.1 * widths[0] or abs(y - b) > 0.045 * widths[1] for a, b in named.values())
        if clear:
            named[label] = (x, y)
    return set(named)


def _bars(values: list[Estimate], colour: str) -> dict[str, object]:
    ends = [(v.low, v.value, v.high) for v in values]
    up = [0.0 if None in end else float(end[2] or 0) - float(end[1] or 0) for end in ends]
    down = [0.0 if None in end else float(end[1] or 0) - float(end[0] or 0) for end in ends]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": colour, "thickness": 1}


def _short(group: Group) -> str:
    more = len(group.members) - 1
    return hover_text(group.labels[0], limit=40) + (f" +{more}" if more else "")


def _row(objective: ObjectiveComparison, group: Group, *, first: bool) -> dict[str, object]:
    train, heldout = objective.train, objective.heldout
    return {
        "label": objective.label, "first": first, "direction": group.direction,
        "intended": 100 * objective.outcomes["intended"], "train_chosen": objective.per_margin(train.chosen.value),
        "train_rejected": objective.per_margin(train.rejected.value), "chosen": group.chosen,
        "rejected": group.rejected, "at_rate": (heldout.chosen.value, heldout.rejected.value),
        "margin": objective.margin,
    }  # fmt: skip
