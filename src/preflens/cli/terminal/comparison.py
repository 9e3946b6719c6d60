"""Print a comparison."""

from rich import box
from rich.panel import Panel
from rich.table import Table

from preflens.cli.terminal.analysis import print_reference
from preflens.cli.terminal.console import OUTPUT, shown
from preflens.records.analysis_wording import batches, signed
from preflens.records.comparison import Comparison
from preflens.records.comparison_groups import Group, groups, last_point, rescaled
from preflens.records.comparison_metadata import ObjectiveComparison, Trajectory
from preflens.records.comparison_wording import comparison_verdict

_COLOURS = {"rises": "green", "falls": "magenta", "unclear": "yellow"}


def print_comparison(comparison: Comparison) -> None:
    """Print the verdict, the table of objectives and dropped rows.

    Args:
        comparison: the comparison.
    """
    verdict = comparison_verdict(comparison.metadata)
    lines = [f"[bold]{shown(verdict.headline)}[/]"]
    lines += [f"[{_COLOURS[way]}]●[/] {shown(sentence)}" for way, sentence in verdict.parts]
    OUTPUT.print(Panel("\n".join([*lines, *map(shown, verdict.detail)]), title="compare", title_align="left"))
    OUTPUT.print(_table(groups(comparison.metadata)))
    data, probe = comparison.metadata.data, comparison.metadata.probe
    split = batches(comparison.metadata.update_batches)
    OUTPUT.print(
        f"{data.pairs} training pairs in {split}, {probe.pairs} held out ({shown(probe.source)}).", highlight=False
    )
    print_reference(comparison.metadata.model)
    parts = {"before the split": comparison.metadata.before_split, "training": data, "held out": probe}
    for what in ("dropped", "noted"):
        for kind, metadata in parts.items():
            for reason, count in getattr(metadata, what, {}).items():
                text = f"{what} ({kind}): {count} × {shown(reason)}"
                OUTPUT.print(text, style="yellow", highlight=False, soft_wrap=True)


def _table(all_groups: tuple[Group, ...]) -> Table:
    title = "First step, nats per nat of margin (held out: chosen minus rejected);\nrollout, nats at its end"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1), collapse_padding=True)
    table.add_column("objective", min_width=14, overflow="fold")
    columns = ("alone\nintended", "training\nchosen", "held out\nchosen", "held out\nrejected", "rollout\nchosen",
               "margin\nat η")  # fmt: skip
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for group in all_groups:
        for number, objective in enumerate(group.members):
            table.add_row(*_row(objective, group, first=number == 0))
    return table


def _row(objective: ObjectiveComparison, group: Group, *, first: bool) -> list[str]:
    """The row of an objective. Values of its group are shown in the first row only."""
    path, colour = rescaled(objective), _COLOURS[group.direction]
    training = signed(objective.per_margin(objective.train.chosen.value))
    chosen, rejected = signed(group.chosen.value), signed(group.rejected.value)
    return [
        ("" if first else "=") + shown(objective.label),
        f"{100 * objective.outcomes['intended']:.0f} %",
        *((training, f"[{colour}]{chosen}[/]", rejected) if first else "···"),
        _end(path),
        signed(objective.margin.value),
    ]


def _end(path: Trajectory | None) -> str:
    """The last value of a rollout, or the step after which it ends early."""
    if path is not None and path.ended is not None:
        return f"ends {path.ended - 1}"
    end = last_point(path)
    return signed(None if end is None else end[0])
