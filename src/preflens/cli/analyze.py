"""`preflens analyze`: the main job."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from preflens.cli.console import ERRORS, OUTPUT
from preflens.cli.verdict import print_verdicts
from preflens.errors import InputError
from preflens.records.storage import output_folder


class Dtype(StrEnum):
    """Types a model can be loaded in."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class OnBadRow(StrEnum):
    """What to do with a row that cannot be used."""

    STOP = "stop"
    DROP = "drop"


_MODEL, _DATA, _STEP, _RUN = "Model", "Data", "The step that is predicted", "Run"


def analyze(
    model: Annotated[str, Option(help="Causal language model: a hub id or a folder.", rich_help_panel=_MODEL)],
    data: Annotated[
        str,
        Option(
            help="Preference pairs: json, jsonl (also .gz), parquet or csv file, `save_to_disk` folder, or hub id. "
            "Columns `chosen`, `rejected` and, unless it is their common beginning, `prompt`; texts or messages.",
            rich_help_panel=_DATA,
        ),
    ],
    out: Annotated[
        Path,
        Option(help="Folder for the results. An interrupted run goes on from there.", rich_help_panel=_RUN),
    ],
    objective: Annotated[
        list[str],
        Option(
            help="Objective, with parameters if wanted: `simpo:beta=2,gamma=1`. Repeat for more. "
            "See `preflens objectives`.",
            rich_help_panel=_STEP,
        ),
    ] = ["dpo"],  # noqa: B006  # typer copies it
    reference: Annotated[
        str,
        Option(
            help="Where reference log-probs come from: a model (hub id or folder), `adapter-off` (the model without "
            "its adapter), `self` (the model itself, as at the first step of training), or `none`. "
            "Default: `adapter-off` with an adapter, else `self`.",
            show_default=False,
            rich_help_panel=_MODEL,
        ),
    ] = "",
    adapter: Annotated[
        str | None, Option(help="PEFT adapter to put on the model: a hub id or a folder.", rich_help_panel=_MODEL)
    ] = None,
    revision: Annotated[
        str | None, Option(help="Branch, tag or commit of a hub model.", rich_help_panel=_MODEL)
    ] = None,
    parameters: Annotated[
        str,
        Option(
            help="Which parameters step: `all`, `lora`, or a regular expression on their names. Default: `lora` with "
            "an adapter, else `all`.",
            show_default=False,
            rich_help_panel=_MODEL,
        ),
    ] = "",
    dtype: Annotated[Dtype, Option(help="Type to compute in.", rich_help_panel=_MODEL)] = Dtype.FLOAT32,
    device: Annotated[str, Option(help="`auto` takes a GPU where there is one.", rich_help_panel=_MODEL)] = "auto",
    split: Annotated[
        str | None, Option(help="Split of a folder or hub data set; `train` if there is one.", rich_help_panel=_DATA)
    ] = None,
    config: Annotated[str | None, Option(help="Configuration of a hub data set.", rich_help_panel=_DATA)] = None,
    chat_template: Annotated[
        Path | None, Option(help="Jinja file that replaces the tokenizer's chat template.", rich_help_panel=_DATA)
    ] = None,
    max_length: Annotated[
        int | None,
        Option(
            help="Tokens of prompt and response; longer rows lose their end, as in TRL. Default: the smaller of 1024 "
            "and the model's context.",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    limit: Annotated[
        int | None, Option(help="Analyse a random sample of so many pairs.", show_default="all", rich_help_panel=_DATA)
    ] = None,
    on_bad_row: Annotated[
        OnBadRow, Option(help="At a row that cannot be used: stop, or drop and count it.", rich_help_panel=_DATA)
    ] = OnBadRow.STOP,
    update_batch_size: Annotated[
        int, Option(help="Pairs that share a step; cross-pair effects depend on it.", rich_help_panel=_STEP)
    ] = 16,
    learning_rate: Annotated[float, Option(help="Size of the plain gradient step.", rich_help_panel=_STEP)] = 1e-6,
    verify: Annotated[
        int,
        Option(help="On so many update batches, really take the step, measure, and undo it.", rich_help_panel=_STEP),
    ] = 0,
    micro_batch: Annotated[
        str, Option(help="Pairs in a forward pass, or `auto`; changes memory, not numbers.", rich_help_panel=_RUN)
    ] = "auto",
    seed: Annotated[int, Option(help="Fixes the sample and the update batches.", rich_help_panel=_RUN)] = 0,
    progress: Annotated[bool, Option(help="Show progress bars.", rich_help_panel=_RUN)] = True,
) -> None:
    """Predict what one preference-tuning step would do to chosen and rejected log-probs, and write a report.

    Example: preflens analyze --model gpt2 --data pairs.jsonl --objective dpo --objective simpo --out results
    """
    output_folder(out)
    passes = micro_batch_size(micro_batch)
    from preflens.analysis.analyze import analyze as run
    from preflens.cli.quiet import quiet_libraries
    from preflens.language_models.loading import check_model_folder, load_model, load_reference, load_tokenizer
    from preflens.language_models.reading import read_pairs
    from preflens.objectives.parse import resolve_objectives
    from preflens.report.render import render_report

    quiet_libraries()
    wanted = list(resolve_objectives(objective).values())
    check_model_folder(model)
    pairs = read_pairs(data, split=split, config=config, on_bad_row=on_bad_row.value)
    tokenizer = load_tokenizer(model, revision=revision, chat_template=chat_template)
    policy = load_model(model, revision=revision, adapter=adapter, dtype=dtype.value, device=device)
    result = run(
        policy,
        tokenizer,
        pairs,
        objectives=wanted,
        reference=load_reference(reference or ("adapter-off" if adapter else "self"), dtype=dtype.value, device=device),
        parameters=parameters or ("lora" if adapter else "all"),
        update_batch_size=update_batch_size,
        micro_batch=passes,
        learning_rate=learning_rate,
        max_length=max_length,
        limit=limit,
        seed=seed,
        verify=verify,
        resume_from=out / ".unfinished",
        progress=progress,
        name=model,
        command=shlex.join(["preflens", *sys.argv[1:]]),
    )
    result.save(out)
    page = render_report(result, out / "report.html")
    print_verdicts(result)
    OUTPUT.print(f"Report: {page}", soft_wrap=True, highlight=False)
    ERRORS.print("Tables: pairs.parquet, objectives.parquet and analysis.json beside it.", style="dim")


def micro_batch_size(text: str) -> int | Literal["auto"]:
    """Read `--micro-batch`.

    Args:
        text: `auto`, or a number.

    Returns:
        The word or the number.

    Raises:
        InputError: it is neither.
    """
    if text == "auto":
        return "auto"
    if text.isdecimal():
        return int(text)
    raise InputError(f"`--micro-batch` should be `auto` or a number of pairs. Found `{text}`.")
