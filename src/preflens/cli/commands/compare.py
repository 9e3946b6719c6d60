"""`preflens compare`: compare objectives on the same pairs."""

from pathlib import Path

from preflens.analysis.options import ComparisonOptions, DataOptions
from preflens.analysis.run_label import labeled_run
from preflens.cli import compare_options, options
from preflens.cli.library_options import prepare_output, run_options, step_numbers, step_options
from preflens.cli.terminal.comparison import print_comparison
from preflens.cli.terminal.console import ERRORS, OUTPUT, shown, silence_libraries
from preflens.records.comparison import COMPARISON_FILES, UNFINISHED_COMPARISON, Comparison


def compare_command(
    model: options.Model,
    data: options.Data,
    out: options.Out,
    objectives: compare_options.CompareObjectives = "all",
    grid: compare_options.Grid = [],  # noqa: B006  # typer copies it
    mitigation: compare_options.MitigationOption = [],  # noqa: B006  # the same
    probe: compare_options.Probe = None,
    probe_fraction: compare_options.ProbeFraction = 0.2,
    horizon: compare_options.Horizon = "1,10,100",
    margin_gain: compare_options.MarginGain = 1.0,
    rollout_pairs: compare_options.RolloutPairsOption = 32,
    per_pair: compare_options.PerPairOption = False,
    verify: compare_options.CompareVerify = "",
    small_steps: compare_options.SmallSteps = 2,
    update_batch_size: options.UpdateBatchSize = 16,
    learning_rate: options.LearningRate = 1e-6,
    reference: options.ReferenceOption = "",
    adapter: options.Adapter = None,
    revision: options.Revision = None,
    parameters: options.Parameters = "",
    dtype: options.Dtype = options.DtypeName.FLOAT32,
    device: options.Device = "auto",
    split: options.Split = None,
    probe_split: compare_options.ProbeSplit = None,
    config: options.Config = None,
    chat_template: options.ChatTemplate = None,
    max_length: options.MaxLength = None,
    limit: options.Limit = None,
    on_bad_row: options.OnBadRowOption = options.BadRow.STOP,
    micro_batch: options.MicroBatchOption = "auto",
    seed: options.Seed = 0,
    discard: options.Discard = False,
    progress: options.Progress = True,
) -> None:
    """Compare objectives on your pairs: which raise and which lower the chosen log-probs, also of held-out pairs.

    Example: preflens compare --model gpt2 --data pairs.jsonl --grid dpo.beta=0.01,0.1,1 --out results
    """
    prepare_output(out, (*COMPARISON_FILES, "compare.html"), unfinished=UNFINISHED_COMPARISON)
    sample = DataOptions(max_length=max_length, limit=limit, seed=seed)
    run = run_options(out, discard=discard, micro_batch=micro_batch, progress=progress)
    step = step_options(parameters, adapter, learning_rate=learning_rate, update_batch_size=update_batch_size)
    from preflens.analysis.compare import compare
    from preflens.cli.loading import load
    from preflens.language_models.reading import read_pairs

    comparison = ComparisonOptions(
        held_out_fraction=probe_fraction, per_pair=per_pair, horizon=step_numbers(horizon), margin_gain=margin_gain,
        rollout_pairs=rollout_pairs, verify_objectives=_names(verify) if verify else [], verify_batches=small_steps,
    )  # fmt: skip
    _check(model, objectives, grid, mitigation, reference=reference)
    pairs = read_pairs(data, split=split, config=config, on_bad_row=on_bad_row.value)
    held_out = None if probe is None else read_pairs(probe, split=probe_split, on_bad_row=on_bad_row.value)
    loaded = load(
        model, revision=revision, adapter=adapter, dtype=dtype, device=device, reference=reference,
        chat_template=chat_template,
    )  # fmt: skip
    with labeled_run(model_name=model, command=options.command_line()):
        result = compare(
            loaded.model, loaded.tokenizer, pairs, objectives=_names(objectives), grid=grid, mitigations=mitigation,
            held_out=held_out, reference=loaded.reference, data=sample, step=step, comparison=comparison, run=run,
        )  # fmt: skip
    _print_results(result, out)


def _check(model: str, objectives: str, grid: list[str], mitigation: list[str], *, reference: str) -> None:
    """Refuse what cannot be compared before anything is loaded."""
    from preflens.analysis.comparison.selection import choose_objectives
    from preflens.language_models.loading import check_model_folder

    silence_libraries()
    choice = choose_objectives(_names(objectives), grid, reference="none" if reference == "none" else "self")
    choice.with_mitigations(mitigation)
    check_model_folder(model)


def _names(text: str) -> list[str]:
    from preflens.objectives.grid import split_objectives

    return split_objectives(text)


def _print_results(result: Comparison, out: Path) -> None:
    from preflens.report.render import render_report

    print_comparison(result)
    page = render_report(result, out / "compare.html")
    OUTPUT.print(f"Report: {shown(page)}", soft_wrap=True, highlight=False)
    ERRORS.print("Tables: compare.parquet, compare_pairs.parquet and compare.json beside it.", style="dim")
