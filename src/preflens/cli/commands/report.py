"""`preflens report`: render the page of a finished analysis or comparison, without torch and transformers."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from preflens.cli.terminal.console import OUTPUT, shown
from preflens.errors import InputError


def report_command(
    folder: Annotated[Path, Argument(help="Folder that `preflens analyze --out` or `preflens compare --out` wrote.")],
    out: Annotated[Path | None, Option(help="The file to write.", show_default="report.html in the folder")] = None,
) -> None:
    """Render the report of a finished analysis or comparison again."""
    from preflens.records.analysis import UNFINISHED_ANALYSIS, Analysis
    from preflens.records.comparison import UNFINISHED_COMPARISON, Comparison
    from preflens.records.reading import is_file
    from preflens.report.render import render_report

    compared, analyzed = (is_file(folder / name) for name in ("compare.json", "analysis.json"))
    if not (compared or analyzed):
        unfinished = [
            name for name in (UNFINISHED_ANALYSIS, UNFINISHED_COMPARISON) if is_file(folder / name / "run.json")
        ]
        begun = f" The run in {unfinished[0]} is not finished. Its own command continues it." if unfinished else ""
        raise InputError(
            f"`{folder}` holds no finished analysis (analysis.json) and no finished comparison (compare.json).{begun} "
            "Pass the folder that `preflens analyze --out` or `preflens compare --out` wrote."
        )
    if compared and not (analyzed and out is not None):
        page = render_report(Comparison.load(folder), out or folder / "compare.html")
        OUTPUT.print(f"Report: {shown(page)}", soft_wrap=True, highlight=False)
    if analyzed:
        page = render_report(Analysis.load(folder), out or folder / "report.html")
        OUTPUT.print(f"Report: {shown(page)}", soft_wrap=True, highlight=False)
