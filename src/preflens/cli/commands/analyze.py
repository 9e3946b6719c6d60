"""`preflens analyze`: the main job."""

from typing import Annotated

from typer import Option

from preflens.cli import options
from preflens.cli.terminal.analysis import print_verdicts
from preflens.cli.terminal.console import ERRORS, OUTPUT, shown
from preflens.records.analysis import ANALYSIS_FILES, UNFINISHED_ANALYSIS
from preflens.records.lock import refuse_if_at_work
from preflens.records.storage import output_folder

AnalyzeObjectives = Annotated[
    list[str],
    Option(
        help="Objective, with parameters if wanted: `simpo:beta=2,gamma=1`. Repeat for more. "
        "See `preflens objectives`.",
        rich_help_panel=options.STEP,
    ),
]
AnalyzeVerify = Annotated[
    int,
    Option(help="On so many update batches, really take the step, measure, and undo it.", rich_help_panel=options.STEP),
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
    output_folder(out, (*ANALYSIS_FILES, "report.html"))
    refuse_if_at_work(out / UNFINISHED_ANALYSIS)
    passes = options.micro_batch_size(micro_batch)
    from preflens.analysis.analyze import analyze as run
    from preflens.cli.loading import load
    from preflens.cli.terminal.console import silence_libraries
    from preflens.language_models.loading import check_model_folder
    from preflens.language_models.reading import read_pairs
    from preflens.objectives.parse import resolve_objectives
    from preflens.report.render import render_report

    silence_libraries()
    wanted = list(resolve_objectives(objective).values())
    check_model_folder(model)
    pairs = read_pairs(data, split=split, config=config, on_bad_row=on_bad_row.value)
    loaded = load(
        model, revision=revision, adapter=adapter, dtype=dtype, device=device, reference=reference,
        chat_template=chat_template,
    )  # fmt: skip
    result = run(
        loaded.model, loaded.tokenizer, pairs, objectives=wanted, reference=loaded.reference,
        parameters=parameters or ("lora" if adapter else "all"), update_batch_size=update_batch_size,
        micro_batch=passes, learning_rate=learning_rate, max_length=max_length, limit=limit, seed=seed, verify=verify,
        out=out, discard=discard, progress=progress, name=model, command=options.command_line(),
    )  # fmt: skip
    print_verdicts(result)
    page = render_report(result, out / "report.html")
    OUTPUT.print(f"Report: {shown(page)}", soft_wrap=True, highlight=False)
    ERRORS.print("Tables: pairs.parquet, objectives.parquet and analysis.json beside it.", style="dim")
