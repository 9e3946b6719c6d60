"""`preflens demo`: analyze and tune a tiny model."""

from pathlib import Path
from typing import Annotated

from typer import Option

from preflens.cli.terminal.console import OUTPUT, shown
from preflens.records.storage import output_folder


def demo_command(
    out: Annotated[Path, Option(help="Folder for the results.")] = Path("preflens-demo"),
    seeds: Annotated[int, Option(help="Runs of each form of the data.", min=1)] = 3,
) -> None:
    """Tune a tiny model on generated preferences: no network, a minute or two.

    Responses are verdicts on reviews, in three forms: the verdict alone, or followed by a short or long suffix that the
    chosen and the rejected response share. A model is trained, tuned with DPO, and analyzed before and after.
    """
    output_folder(out)
    from preflens.analysis.measurement.progress import progress_bar
    from preflens.cli.terminal.console import silence_libraries
    from preflens.cli.terminal.demo import print_demo_summary
    from preflens.demo.run import Setup, run_demo, save_demo
    from preflens.demo.synthetic_reviews import SUFFIXES

    silence_libraries()
    setup = Setup(seeds=seeds)
    with progress_bar("Training, tuning, analysing", total=seeds * len(SUFFIXES), shown=True) as advance:
        runs = run_demo(setup, advance=advance)
    reports = save_demo(runs, out)
    print_demo_summary(runs, setup)
    for when, page in zip(("before", "after"), reports, strict=True):
        OUTPUT.print(f"Report, long suffix, {when} tuning: {shown(page)}", soft_wrap=True, highlight=False)
