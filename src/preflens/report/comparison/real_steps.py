"""Forecast and rollout beside real steps, over held-out pairs."""

import plotly.graph_objects as go

from preflens.records.comparison import Comparison
from preflens.records.comparison_metadata import EQUAL_MARGIN
from preflens.report.plots import CHOSEN, OUTCOME_COLOURS, REJECTED, hover_text, plot
from preflens.report.section import Section

_COLOURS = (CHOSEN, REJECTED, *OUTCOME_COLOURS.values())


def real_steps(comparison: Comparison) -> Section | None:
    """Show how far the rollout is from the fact, step by step, and how well one small step was forecast.

    Args:
        comparison: what was found.

    Returns:
        A section, or nothing if no real step was taken.
    """
    found = comparison.metadata.real_steps
    if not found:
        return None
    figure = go.Figure()
    for number, check in enumerate(c for r in found for c in r.rollouts):
        figure.add_scatter(
            x=check.steps,
            y=[None if e is None else 100 * e for e in check.error],
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
    figure.update_yaxes(title="‖rollout − fact‖ / ‖fact‖, %", rangemode="tozero")
    checks = [c for r in found for c in r.rollouts]
    values = {"plot": plot(figure, name="real-steps") if checks else None, "found": found, "checks": checks}
    return Section("Forecast and fact", "real_steps.html", values)
