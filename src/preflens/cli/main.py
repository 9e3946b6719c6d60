"""Entry point of `preflens`, which prints errors as one line."""

import sys
from typing import Annotated

import typer
from rich.markup import escape

from preflens.cli.commands.analyze import analyze_command
from preflens.cli.commands.compare import compare_command
from preflens.cli.commands.demo import demo_command
from preflens.cli.commands.objectives import objectives_command
from preflens.cli.commands.report import report_command
from preflens.cli.commands.train import train_command
from preflens.cli.flag_names import flags_of
from preflens.cli.terminal.console import ERRORS, print_log_messages
from preflens.cli.train_help import TrainCommand
from preflens.errors import PreflensError
from preflens.records.visible_characters import visible
from preflens.version import __version__

app = typer.Typer(
    name="preflens",
    help="Will my chosen answers become more likely? Gradient entanglement of preference pairs, measured and "
    "predicted.\n\nTerms such as nat, margin and update batch are defined in docs/glossary.md and at the end of every "
    "report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (analyze_command, compare_command, report_command, objectives_command, demo_command):
    app.command(command.__name__.removesuffix("_command"))(command)
# Options that typer does not know are left to TRL's parser.
app.command("train", cls=TrainCommand, context_settings={"ignore_unknown_options": True}, no_args_is_help=True)(
    train_command
)


def _print_version(requested: bool) -> bool:
    if requested:
        print(f"preflens {__version__}")
        raise typer.Exit
    return requested


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Declare the options before the command. Typer calls this.

    Args:
        version: print the version and stop.
    """


def main() -> None:
    """Run the command line. A user's mistake prints one line on standard error and exits with code 2."""
    print_log_messages()
    try:
        app(prog_name="preflens")
    except PreflensError as error:
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
        message = " ".join(visible(error.with_flags(flags_of(command))).split())
        ERRORS.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
        sys.exit(2)
