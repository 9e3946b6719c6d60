"""Print an analysis."""

from rich import box
from rich.panel import Panel
from rich.table import Table

from preflens.cli.terminal.console import OUTPUT, shown
from preflens.records.analysis import Analysis
from preflens.records.analysis_wording import batches, reference_in_full, share, verdicts, with_interval
from preflens.records.common import ModelProvenance
from preflens.records.outcome import Outcome

_COLOURS = {"rises": "green", "falls": "magenta", "unclear": "yellow"}


def print_verdicts(analysis: Analysis) -> None:
    """Print verdicts, shares of outcomes, dropped rows and verification.

    Args:
        analysis: the analysis.
    """
    for verdict in verdicts(analysis.metadata):
        text = f"[bold]{shown(verdict.headline)}[/]\n" + shown("\n".join(verdict.detail))
        title = shown(" · ".join(verdict.labels))
        OUTPUT.print(Panel(text, title=title, title_align="left", border_style=_COLOURS[verdict.direction]))
    OUTPUT.print(_outcomes(analysis))
    data, geometry = analysis.metadata.data, analysis.metadata.geometry
    split = batches(analysis.metadata.update_batches)
    OUTPUT.print(
        f"{data.pairs} pairs in {split}, mean gradient cosine {with_interval(geometry.cosine)}.", highlight=False
    )
    print_reference(analysis.metadata.model)
    for what, counts in (("dropped", data.dropped), ("noted", data.noted)):
        for reason, count in counts.items():
            OUTPUT.print(f"{what}: {count} × {shown(reason)}", style="yellow", highlight=False, soft_wrap=True)
    for check in analysis.metadata.verification:
        steps = "one real step" if check.batches == 1 else f"{check.batches} real steps"
        OUTPUT.print(
            f"forecast against {steps} of {shown(check.objective)}: slope {_number(check.slope)}, "
            f"correlation {_number(check.correlation)}, signs right {_number(check.signs_right)}, "
            f"rounding floor {check.rounding_floor:.1g} nats",
            highlight=False,
        )


def print_reference(model: ModelProvenance) -> None:
    """Print where reference log-probs came from.

    Args:
        model: entry of the record.
    """
    OUTPUT.print(f"Reference: {shown(reference_in_full(model.reference))}.", highlight=False, soft_wrap=True)


def _outcomes(analysis: Analysis) -> Table:
    table = Table(title="Each pair on its own: share of pairs", title_justify="left", box=box.SIMPLE)
    table.add_column("objective")
    for outcome in Outcome:
        table.add_column(outcome.replace("_", " "), justify="right")
    for objective in analysis.metadata.objectives:
        table.add_row(shown(objective.label), *(share(objective.outcomes[o]) for o in Outcome))
    return table


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"
