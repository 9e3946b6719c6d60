"""Forecast and measurement side by side: real steps that were taken and undone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from preflens.records.analysis_metadata import Verification
from preflens.records.comparison import Comparison
from preflens.records.comparison_metadata import EQUAL_MARGIN, RealSteps, RolloutCheck
from preflens.report.plots import CHOSEN, OUTCOME_COLOURS, REJECTED, hover_text, plot
from preflens.report.section import Record, Section

_COLOURS = (CHOSEN, REJECTED, *OUTCOME_COLOURS.values())


def real_steps(record: Record) -> Section | None:
    """Plot measured against predicted changes and, for a comparison, the error of the rollout after each step.

    Args:
        record: an analysis or a comparison.

    Returns:
        A section, or None where no real step was taken.
    """
    steps = record.metadata.real_steps if isinstance(record, Comparison) else record.metadata.verification
    if not steps:
        return None
    points = [p for step in steps[:1] for p in (_held_out(step) if isinstance(step, RealSteps) else _batch(step))]
    checks = [check for step in steps if isinstance(step, RealSteps) for check in step.rollouts]
    values = {
        "held_out": isinstance(record, Comparison),
        "objective": steps[0].objective,
        "forecast": plot(_forecast(points), name="forecast", height=460) if points else None,
        "steps": steps,
        "rollout": plot(_rollout_errors(checks), name="rollout-errors") if checks else None,
        "checks": checks,
    }
    return Section("Forecast and measurement", values)


@dataclass(frozen=True)
class _Point:
    """Predicted and measured change of one log-prob, nats."""

    side: str
    forecast: float
    measured: float
    label: str = ""


def _batch(step: Verification) -> Iterable[_Point]:
    rows = zip(step.sides, step.forecast, step.measured, step.ids, strict=True)
    return (_Point(side, forecast, measured, label) for side, forecast, measured, label in rows)


def _held_out(steps: RealSteps) -> Iterable[_Point]:
    for step in steps.small:
        label = f"update batch {step.update_batch}"
        for side, forecast, measured in (
            ("chosen", step.chosen_forecast, step.chosen_measured),
            ("rejected", step.rejected_forecast, step.rejected_measured),
        ):
            yield from (_Point(side, *values, label) for values in zip(forecast, measured, strict=True))


def _forecast(points: Sequence[_Point]) -> go.Figure:
    figure = go.Figure()
    for side, colour, symbol in (("chosen", CHOSEN, "circle"), ("rejected", REJECTED, "diamond")):
        drawn = [p for p in points if p.side == side]
        figure.add_scatter(
            x=[p.forecast for p in drawn],
            y=[p.measured for p in drawn],
            text=[hover_text(p.label) for p in drawn],
            mode="markers",
            name=side,
            marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.75},
            hovertemplate="%{text}<br>forecast %{x:.3g}, measured %{y:.3g} nats<extra></extra>",
        )
    ends = [min(p.forecast for p in points), max(p.forecast for p in points)]
    figure.add_scatter(
        x=ends, y=ends, mode="lines", name="equal", line={"color": "#888", "dash": "dot"}, hoverinfo="skip"
    )
    figure.update_xaxes(title="predicted change, nats")
    figure.update_yaxes(title="measured change, nats")
    return figure


def _rollout_errors(checks: Sequence[RolloutCheck]) -> go.Figure:
    figure = go.Figure()
    for number, check in enumerate(checks):
        figure.add_scatter(
            x=check.steps,
            y=[None if error is None else 100 * error for error in check.error],
            mode="lines+markers",
            name=hover_text(f"{check.objective}, {check.scale}", limit=60),
            line={
                "color": _COLOURS[number % len(_COLOURS)],
                "dash": "solid" if check.scale == EQUAL_MARGIN else "dot",
            },
            hovertemplate="step %{x}: off by %{y:.2f} %<extra>%{fullData.name}</extra>",
        )
    figure.add_hline(y=10, line={"color": "#888", "dash": "dash"}, annotation_text="10 %")
    figure.update_xaxes(title="steps", type="log")
    figure.update_yaxes(title="‖rollout − measured‖ / ‖measured‖, %", rangemode="tozero")
    return figure
