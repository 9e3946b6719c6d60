"""`preflens compare`: which objective suits these pairs."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from preflens.cli.analyze import Dtype, OnBadRow, micro_batch_size
from preflens.cli.comparison import print_comparison
from preflens.cli.console import ERRORS, OUTPUT
from preflens.errors import InputError
from preflens.records.storage import output_folder

_MODEL, _DATA, _WHAT, _STEP, _RUN = "Model", "Data", "What is compared", "The steps", "Run"


def compare(
    model: Annotated[str, Option(help="Causal language model: a hub id or a folder.", rich_help_panel=_MODEL)],
    data: Annotated[
        str,
        Option(
            help="Preference pairs: json, jsonl (also .gz), parquet or csv file, `save_to_disk` folder, or hub id.",
            rich_help_panel=_DATA,
        ),
    ],
    out: Annotated[
        Path,
        Option(help="Folder for the results. An interrupted run goes on from there.", rich_help_panel=_RUN),
    ],
    objectives: Annotated[
        str,
        Option(
            help="`all`, or names with parameters: `dpo,simpo:beta=2,gamma=1,slic`. See `preflens objectives`.",
            rich_help_panel=_WHAT,
        ),
    ] = "all",
    grid: Annotated[
        list[str],
        Option(
            help="Values of a parameter to compare too: `dpo.beta=0.01,0.1,1`. Repeat for more parameters; all "
            "combinations of one objective's are taken.",
            rich_help_panel=_WHAT,
        ),
    ] = [],  # noqa: B006  # typer copies it
    probe: Annotated[
        str | None,
        Option(help="Held-out pairs, in any form that `--data` takes.", show_default=False, rich_help_panel=_DATA),
    ] = None,
    probe_fraction: Annotated[
        float,
        Option(help="Without `--probe`: share of the pairs to hold out, by whole prompts.", rich_help_panel=_DATA),
    ] = 0.2,
    horizon: Annotated[
        str, Option(help="After how many steps to look at the rollout.", rich_help_panel=_STEP)
    ] = "1,10,100",
    margin_gain: Annotated[
        float,
        Option(
            help="For the rescaled rollout: nats that the mean training margin gains by the last step, at the pace of "
            "the first.",
            rich_help_panel=_STEP,
        ),
    ] = 1.0,
    rollout_pairs: Annotated[
        int,
        Option(
            help="Training pairs to follow (whole update batches, one at least), and held-out pairs.",
            rich_help_panel=_STEP,
        ),
    ] = 32,
    per_pair: Annotated[
        bool, Option("--per-pair", help="Also predict every single held-out pair.", rich_help_panel=_WHAT)
    ] = False,
    verify: Annotated[
        str,
        Option(
            help="Take the steps of these objectives for real, compare, and undo them: `dpo,slic`, or `all`.",
            show_default=False,
            rich_help_panel=_STEP,
        ),
    ] = "",
    small_steps: Annotated[
        int, Option(help="With `--verify`: update batches that take one small step.", rich_help_panel=_STEP)
    ] = 2,
    update_batch_size: Annotated[
        int, Option(help="Pairs that share a step; cross-pair effects depend on it.", rich_help_panel=_STEP)
    ] = 16,
    learning_rate: Annotated[float, Option(help="Size of the plain gradient steps.", rich_help_panel=_STEP)] = 1e-6,
    reference: Annotated[
        str,
        Option(
            help="A model (hub id or folder), `adapter-off`, `self`, or `none`, as for `analyze`.",
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
    probe_split: Annotated[
        str | None, Option(help="The same for `--probe`.", show_default=False, rich_help_panel=_DATA)
    ] = None,
    config: Annotated[str | None, Option(help="Configuration of a hub data set.", rich_help_panel=_DATA)] = None,
    chat_template: Annotated[
        Path | None, Option(help="Jinja file that replaces the tokenizer's chat template.", rich_help_panel=_DATA)
    ] = None,
    max_length: Annotated[
        int | None,
        Option(help="Tokens of prompt and response, as for `analyze`.", show_default=False, rich_help_panel=_DATA),
    ] = None,
    limit: Annotated[
        int | None,
        Option(help="A random sample of so many pairs of `--data`.", show_default="all", rich_help_panel=_DATA),
    ] = None,
    on_bad_row: Annotated[
        OnBadRow, Option(help="At a row that cannot be used: stop, or drop and count it.", rich_help_panel=_DATA)
    ] = OnBadRow.STOP,
    micro_batch: Annotated[
        str, Option(help="Pairs in a forward pass, or `auto`; changes memory, not numbers.", rich_help_panel=_RUN)
    ] = "auto",
    seed: Annotated[int, Option(help="Fixes the sample, the split and the update batches.", rich_help_panel=_RUN)] = 0,
    progress: Annotated[bool, Option(help="Show progress bars.", rich_help_panel=_RUN)] = True,
) -> None:
    """Compare objectives on your pairs: which raise the chosen answers, also on held-out pairs, which sink them.

    Example: preflens compare --model gpt2 --data pairs.jsonl --grid dpo.beta=0.01,0.1,1 --out results
    """
    output_folder(out)
    passes, steps = micro_batch_size(micro_batch), _numbers(horizon)
    from preflens.analysis.compare import compare as run
    from preflens.analysis.comparison.choice import choose_objectives
    from preflens.cli.quiet import quiet_libraries
    from preflens.language_models.loading import check_model_folder, load_model, load_reference, load_tokenizer
    from preflens.language_models.reading import read_pairs
    from preflens.objectives.grid import split_objectives
    from preflens.report.comparison import render_comparison

    quiet_libraries()
    choose_objectives(split_objectives(objectives), grid, reference="none" if reference == "none" else "self")
    check_model_folder(model)
    pairs = read_pairs(data, split=split, config=config, on_bad_row=on_bad_row.value)
    held_out = None if probe is None else read_pairs(probe, split=probe_split, on_bad_row=on_bad_row.value)
    tokenizer = load_tokenizer(model, revision=revision, chat_template=chat_template)
    result = run(
        load_model(model, revision=revision, adapter=adapter, dtype=dtype.value, device=device),
        tokenizer,
        pairs,
        objectives=split_objectives(objectives),
        grid=grid,
        probe=held_out,
        probe_fraction=probe_fraction,
        horizon=steps,
        margin_gain=margin_gain,
        rollout_pairs=rollout_pairs,
        per_pair=per_pair,
        verify=split_objectives(verify) if verify else [],
        small_steps=small_steps,
        reference=load_reference(reference or ("adapter-off" if adapter else "self"), dtype=dtype.value, device=device),
        parameters=parameters or ("lora" if adapter else "all"),
        update_batch_size=update_batch_size,
        micro_batch=passes,
        learning_rate=learning_rate,
        max_length=max_length,
        limit=limit,
        seed=seed,
        resume_from=out / ".unfinished-compare",
        progress=progress,
        name=model,
        command=shlex.join(["preflens", *sys.argv[1:]]),
    )
    result.save(out)
    page = render_comparison(result, out / "compare.html")
    print_comparison(result)
    OUTPUT.print(f"Report: {page}", soft_wrap=True, highlight=False)
    ERRORS.print("Tables: compare.parquet, compare_pairs.parquet and compare.json beside it.", style="dim")


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise InputError(f"`--horizon` should hold numbers of steps, like 1,10,100. Found `{text}`.")
    return [int(part) for part in parts]
