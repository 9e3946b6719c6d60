"""`preflens report`: the page of a finished analysis again; loads neither torch nor transformers."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from preflens.cli.console import OUTPUT


def report(
    folder: Annotated[Path, Argument(help="What `preflens analyze --out` wrote.")],
    out: Annotated[Path | None, Option(help="The file to write.", show_default="report.html in the folder")] = None,
) -> None:
    """Render the report of a finished analysis again."""
    from preflens.records.analysis import Analysis
    from preflens.report.render import render_report

    page = render_report(Analysis.load(folder), out or folder / "report.html")
    OUTPUT.print(f"Report: {page}", soft_wrap=True, highlight=False)
