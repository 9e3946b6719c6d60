"""`preflens report`: the page of a finished analysis or comparison again; loads neither torch nor transformers."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from preflens.cli.console import OUTPUT, shown


def report(
    folder: Annotated[Path, Argument(help="What `preflens analyze --out` or `preflens compare --out` wrote.")],
    out: Annotated[Path | None, Option(help="The file to write.", show_default="report.html in the folder")] = None,
) -> None:
    """Render the report of a finished analysis or comparison again."""
    from preflens.records.analysis import Analysis
    from preflens.records.comparison import Comparison
    from preflens.report.comparison import render_comparison
    from preflens.report.render import render_report

    compared, analysed = ((folder / name).is_file() for name in ("compare.json", "analysis.json"))
    if compared and not (analysed and out is not None):
        page = render_comparison(Comparison.load(folder), out or folder / "compare.html")
        OUTPUT.print(f"Report: {shown(page)}", soft_wrap=True, highlight=False)
    if analysed or not compared:
        page = render_report(Analysis.load(folder), out or folder / "report.html")
        OUTPUT.print(f"Report: {shown(page)}", soft_wrap=True, highlight=False)
