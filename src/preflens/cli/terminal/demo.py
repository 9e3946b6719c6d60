"""Print a summary of the demo."""

from statistics import mean

from rich import box
from rich.table import Table

from preflens.cli.terminal.console import OUTPUT
from preflens.demo.run import DemoRun, Setup
from preflens.records.analysis_wording import verdicts


def print_demo_summary(runs: list[DemoRun], setup: Setup) -> None:
    """Print a table of the three forms of data, and sentences that explain it.

    Args:
        runs: runs of the demo.
        setup: size of the demo.
    """
    forms = list(dict.fromkeys(run.form for run in runs))
    by_form = {form: [run for run in runs if run.form == form] for form in forms}
    OUTPUT.print(_table(by_form, setup))
    start = [mean(_cosines(by_form[form], "before")) for form in forms]
    order = "grows" if start == sorted(start) else "does not simply grow"
    _print_sentence(
        "The cosine of the two gradients of a pair measures their alignment. Before tuning it "
        f"{order} with the length of the text that both responses share: {', '.join(map(_two_places, start))}."
    )
    fell = {form: sum(run.tuning.measured[0] < 0 for run in by_form[form]) for form in forms}
    counts = ", ".join(f"{fell[form]} of {len(by_form[form])} ({form})" for form in forms)
    _print_sentence(
        f"DPO asks only for a wider margin. The chosen answers themselves became less likely in {counts} runs."
    )
    error = max(abs(run.tuning.forecast[0] - run.tuning.measured[0]) for run in runs)
    _print_sentence(
        f"Every step was forecast before it was taken. Summed over {setup.dpo_steps} steps, forecast and measured "
        "change "
        f"of the chosen log-prob differ by at most {error:.2g} nats in {len(runs)} runs. The difference is second "
        "order."
    )
    last = next(run for run in runs if run.seed == 0 and run.form == forms[-1])
    before, after = (verdicts(analysis.metadata)[0].headline for analysis in (last.before, last.after))
    moral = "the same answer" if before == after else "the gradients changed meanwhile, so analyze again during a run"
    _print_sentence(
        f"The verdict on the next step, {last.form}, seed 0: “{before}” After the steps: “{after}” ({moral})."
    )


def _print_sentence(sentence: str) -> None:
    OUTPUT.print(f"• {sentence}", highlight=False)


def _two_places(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _table(by_form: dict[str, list[DemoRun]], setup: Setup) -> Table:
    count = max(len(runs) for runs in by_form.values())
    title = f"{setup.dpo_steps} plain DPO steps, held-out pairs, means over {count} seed{'s' * (count > 1)}, nats"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    table.add_column("responses", no_wrap=True)
    for column in (
        "cosine\nbefore → after",
        "chosen change\nforecast | measured",
        "rejected change\nforecast | measured",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for form, runs in by_form.items():
        cosines = " → ".join(_two_places(mean(_cosines(runs, when))) for when in ("before", "after"))
        changes = [_forecast_and_measured(runs, side) for side in (0, 1)]
        table.add_row(form, cosines, *changes)
    return table


def _forecast_and_measured(runs: list[DemoRun], side: int) -> str:
    means = (mean(getattr(run.tuning, what)[side] for run in runs) for what in ("forecast", "measured"))
    return " | ".join(map(_two_places, means))


def _cosines(runs: list[DemoRun], when: str) -> list[float]:
    """Mean cosine of each run, without runs whose gradients are zero."""
    values = (getattr(run, when).metadata.geometry.cosine.value for run in runs)
    return [value for value in values if value is not None]
