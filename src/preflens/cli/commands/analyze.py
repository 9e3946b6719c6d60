"""`preflens analyze`: predict one preference-tuning step."""

from pathlib import Path
from typing import Annotated

from typer import Option

from preflens.analysis.options import DataOptions
from preflens.analysis.run_label import labeled_run
from preflens.cli import options
from preflens.cli.library_options import prepare_output, run_options, step_options
from preflens.cli.terminal.analysis import print_verdicts
from preflens.cli.terminal.console import ERRORS, OUTPUT, shown, silence_libraries
from preflens.records.analysis import ANALYSIS_FILES, UNFINISHED_ANALYSIS, Analysis

AnalyzeObjectives = Annotated[
    list[str],
    Option(
        help="Objective, with optional parameters: `simpo:beta=2,gamma=1`. Repeat the option for more. "
        "See `preflens objectives`.",
        rich_help_panel=options.STEP,
    ),
]
AnalyzeVerify = Annotated[
    int,
    Option(
        help="Number of update batches on which the step is really taken, measured and undone.",
        rich_help_panel=options.STEP,
    ),
]


def analyze_command(
    model: options.Model,
    data: options.Data,
    out: options.Out,
    objective: AnalyzeObjectives = ["dpo"],  # noqa: B006  # typer copies it
    reference: options.ReferenceOption = "",
    adapter: options.Adapter = None,
    revision: options.Revision = None,
    parameters: options.Parameters = "",
    dtype: options.Dtype = options.DtypeName.FLOAT32,
    device: options.Device = "auto",
    split: options.Split = None,
    config: options.Config = None,
    chat_template: options.ChatTemplate = None,
    max_length: options.MaxLength = None,
    limit: options.Limit = None,
    on_bad_row: options.OnBadRowOption = options.BadRow.STOP,
    update_batch_size: options.UpdateBatchSize = 16,
    learning_rate: options.LearningRate = 1e-6,
    verify: AnalyzeVerify = 0,
    micro_batch: options.MicroBatchOption = "auto",
    seed: options.Seed = 0,
    discard: options.Discard = False,
    progress: options.Progress = True,
) -> None:
    """Predict what one preference-tuning step would do to chosen and rejected log-probs, and write a report.

    Example: preflens analyze --model gpt2 --data pairs.jsonl --objective dpo --objective simpo --out results
    """
    prepare_output(out, (*ANALYSIS_FILES, "report.html"), unfinished=UNFINISHED_ANALYSIS)
    sample = DataOptions(max_length=max_length, limit=limit, seed=seed)
    run = run_options(out, discard=discard, micro_batch=micro_batch, progress=progress)
    step = step_options(parameters, adapter, learning_rate=learning_rate, update_batch_size=update_batch_size)
    from preflens.analysis.analyze import analyze
    from preflens.cli.loading import load
    from preflens.language_models.loading import check_model_folder
    from preflens.language_models.reading import read_pairs
    from preflens.objectives.parse import resolve_objectives

    silence_libraries()
    objectives = list(resolve_objectives(objective).values())
    check_model_folder(model)
    pairs = read_pairs(data, split=split, config=config, on_bad_row=on_bad_row.value)
    loaded = load(
        model, revision=revision, adapter=adapter, dtype=dtype, device=device, reference=reference,
        chat_template=chat_template,
    )  # fmt: skip
    with labeled_run(model_name=model, command=options.command_line()):
        result = analyze(
            loaded.model, loaded.tokenizer, pairs, objectives=objectives, reference=loaded.reference,
            verify_batches=verify, data=sample, step=step, run=run,
        )  # fmt: skip
    _print_results(result, out)


def _print_results(result: Analysis, out: Path) -> None:
    from preflens.report.render import render_report

    print_verdicts(result)
    page = render_report(result, out / "report.html")
    OUTPUT.print(f"Report: {shown(page)}", soft_wrap=True, highlight=False)
    ERRORS.print("Tables: pairs.parquet, objectives.parquet and analysis.json beside it.", style="dim")
