"""Outcomes of a step on each pair alone."""

import plotly.graph_objects as go

from preflens.records.analysis import Analysis
from preflens.records.analysis_wording import share
from preflens.records.outcome import Outcome
from preflens.report.plots import OUTCOME_COLOURS, hover_text, plot
from preflens.report.section import Section


def outcomes(analysis: Analysis) -> Section:
    """Draw the shares of the own-pair outcomes under every objective.

    Args:
        analysis: the record to show.

    Returns:
        A section with stacked bars and a table.
    """
    objectives = analysis.metadata.objectives
    labels = [hover_text(o.label) for o in objectives]
    figure = go.Figure()
    for outcome in Outcome:
        shares = [100 * (o.outcomes[outcome].value or 0.0) for o in objectives]
        figure.add_bar(
            y=labels,
            x=shares,
            name=outcome.label,
            orientation="h",
            marker={"color": OUTCOME_COLOURS[outcome]},
            text=[f"{s:.0f} %" if s >= 4 else "" for s in shares],
            insidetextanchor="middle",
            hovertemplate=f"{outcome.label}: %{{x:.1f}} %<extra>%{{y}}</extra>",
        )
    figure.update_layout(barmode="stack", xaxis={"title": "share of pairs, %", "range": [0, 100]})
    figure.update_yaxes(autorange="reversed", automargin=True)
    rows = [{"label": o.label, "shares": [share(o.outcomes[k]) for k in Outcome]} for o in objectives]
    values = {
        "plot": plot(figure, name="outcomes", height=120 + 44 * len(objectives)),
        "names": [k.label for k in Outcome],
        "rows": rows,
    }
    return Section("Each pair on its own", values)
