"""Help page of `preflens train`, whose options are parsed by TRL."""

from dataclasses import Field, fields
from typing import Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from preflens.cli.terminal.console import OUTPUT
from preflens.train_config.options import OPTION_PANELS, TrainOptions


class TrainCommand(TyperCommand):
    """A command whose help ends with one panel per group of options that TRL parses."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # click's, which typer brings along
        """Write the help page."""
        super().format_help(ctx, formatter)
        panels, table = [], Table()
        for option in fields(TrainOptions):
            if option.name in OPTION_PANELS:
                table = Table(box=None, show_header=False, pad_edge=False)
                panels.append(Panel(table, title=OPTION_PANELS[option.name], title_align="left", border_style="dim"))
            table.add_row(Text(f"--{option.name}", style="bold cyan"), Text(_sentence(option)))
        OUTPUT.print(*panels)


def _sentence(option: Field[Any]) -> str:
    no_default = option.default is None or option.default is False
    return str(option.metadata["help"]) + ("" if no_default else f" [default: {option.default}]")
