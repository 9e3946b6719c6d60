"""Which objective suits these pairs: all of them compared from one pass, once and over many steps."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from preflens.analysis.comparison.data import ComparisonData, comparison_data
from preflens.analysis.comparison.model_queries import ModelQueries
from preflens.analysis.comparison.pipeline import ComparisonConfig, ComparisonResults, run_comparison
from preflens.analysis.comparison.selection import check_horizon, choose_objectives, choose_verified
from preflens.analysis.comparison.summary import own_steps, summarize
from preflens.analysis.comparison.tables import compare_table, held_out_table, training_table
from preflens.analysis.measurement.checkpoint import Checkpoint
from preflens.analysis.measurement.forward_passes import PolicyScorer
from preflens.analysis.measurement.memory_budget import memory_budget, pass_limit
from preflens.analysis.measurement.progress import timed
from preflens.analysis.measurement.run_identity import pairs_trait, run_traits
from preflens.analysis.measurement.unfinished import unfinished_run
from preflens.analysis.measurement.validation import check_arguments, check_vocabulary, usable_length
from preflens.analysis.summaries.provenance import describe_reference, model_provenance, versions
from preflens.analysis.summaries.tables import pairs_table
from preflens.language_models.model import LanguageModel, Reference, check_experts, check_rows_are_independent
from preflens.language_models.parameters import observing
from preflens.language_models.reading import PairInput
from preflens.mitigations import Mitigation
from preflens.objectives.kinds.base import Objective
from preflens.records.analysis_schema import TEXT_LIMIT
from preflens.records.common import Argument, ModelProvenance
from preflens.records.comparison import COMPARISON_FILES, UNFINISHED_COMPARISON, Comparison
from preflens.records.comparison_metadata import COMPARISON_FORMAT, ComparisonMetadata, ObjectiveComparison


def compare(
    model: LanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: PairInput,
    *,
    objectives: Sequence[str | Objective] = ("all",),
    grid: Sequence[str] = (),
    mitigations: Sequence[str | Mitigation] = (),
    probe: PairInput | None = None,
    probe_fraction: float = 0.2,
    horizon: Sequence[int] = (1, 10, 100),
    margin_gain: float = 1.0,
    rollout_pairs: int = 32,
    per_pair: bool = False,
    verify: Sequence[str] = (),
    small_steps: int = 2,
    reference: Reference = "self",
    parameters: str = "trainable",
    update_batch_size: int = 16,
    micro_batch: int | Literal["auto"] = "auto",
    learning_rate: float = 1e-6,
    max_length: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    discard: bool = False,
    progress: bool = True,
    name: str | None = None,
    command: str | None = None,
) -> Comparison:
    """Compare objectives on preference pairs: which raise the chosen answers, on held-out pairs too, and which do not.

    One pass over the training pairs gives the geometry of every update batch, one over the held-out pairs the gradient
    of their mean log-probs, one more over the training pairs the inner products of the two. From there on an objective
    or a grid point costs its coefficients only. A rollout with the geometry held fixed tells objectives apart whose
    first steps point the same way. All of it is first order, for plain gradient steps from this checkpoint.

    Args:
        model: a Hugging Face causal language model; left as it was found.
        tokenizer: its tokenizer.
        pairs: rows in TRL's columns, or what `read_pairs` returned.
        objectives: names of the table with optional parameters, or objectives; `all` for every entry that can be used.
        grid: one text a parameter, `OBJECTIVE.PARAMETER=VALUE,VALUE`; all combinations are compared too.
        mitigations: what-ifs: every named objective (`dpo` where only `all` is asked for), its steps passed through
            each of these, beside the plain one. Maps of coefficients only; none knows the held-out pairs.
        probe: held-out pairs; those that are training pairs are dropped and counted.
        probe_fraction: without `probe`, the share of the pairs to hold out, whole prompts at a time.
        horizon: after how many steps to look at the rollout.
        margin_gain: for the rescaled rollout: nats of margin gained by the last step, at the pace of the first. The
            *margin* is the mean over held-out pairs of the chosen log-prob's change less the rejected one's.
        rollout_pairs: follow so many training pairs, in whole update batches (one at least), and so many held-out ones.
        per_pair: also predict the change of every single held-out pair.
        verify: labels or names of compared objectives, or `all`: take their steps for real, and undo them.
        small_steps: with `verify`, update batches that take one small step each.
        reference: a reference model; `self`: the policy itself, as at the first step of training; `adapter-copy`: the
            frozen copy that TRL keeps of an adapter that training goes on from; `adapter-off`: the policy without its
            PEFT adapter; `none`.
        parameters: which parameters a step moves: `trainable`, `all`, `lora`, or a regular expression on names.
        update_batch_size: pairs that share a step, at most: batches are as equal as can be; drawn by `seed`.
        micro_batch: pairs in a forward pass; bounds memory and changes no number beyond rounding.
        learning_rate: η of the steps.
        max_length: tokens of prompt and response; default the smaller of 1024 and the model's context.
        limit: take a random sample of so many pairs, before any are held out.
        seed: of the sample, the split and the update batches.
        out: folder for the results. Finished parts are kept in it until the results are saved: an interrupted run goes
            on from there, and another one is refused while they are there. None saves nothing.
        discard: throw away what an unfinished run has left in `out`.
        progress: show progress bars on standard error.
        name: what to call the model in the record.
        command: command line for the record.

    Returns:
        Tables and facts; see `Comparison`.
    """
    choice = choose_objectives(objectives, grid, reference=reference).with_mitigations(mitigations)
    check_rows_are_independent(model)
    check_experts(model)
    length = usable_length(model, max_length)
    check_arguments(
        choice.objectives, reference=reference, update_batch_size=update_batch_size, micro_batch=micro_batch,
        learning_rate=learning_rate, limit=limit, verify=0,
    )  # fmt: skip
    wanted = ComparisonConfig(
        choice, learning_rate, check_horizon(horizon), margin_gain, rollout_pairs, per_pair,
        choose_verified(verify, choice), small_steps, seed,
    )  # fmt: skip
    seconds: dict[str, float] = {}
    given: dict[str, Argument] = {
        "grid": " ".join(grid), "probe_fraction": probe_fraction if probe is None else None, "limit": limit,
        "update_batch_size": update_batch_size, "micro_batch": micro_batch, "max_length": max_length,
    }  # fmt: skip
    with unfinished_run(out, UNFINISHED_COMPARISON, files=COMPARISON_FILES, discard=discard, command=command) as run:
        with timed(seconds, "total"):
            data = comparison_data(
                pairs, probe, tokenizer, fraction=probe_fraction, max_length=length, limit=limit, seed=seed
            )  # fmt: skip
            check_vocabulary((*data.training, *data.held_out), model, reference)
            batches = data.update_batches(size=update_batch_size, seed=seed)
            with observing(model, parameters):
                about = model_provenance(
                    model, name=name, selection=parameters, reference=describe_reference(reference, model)
                )
                traits = run_traits(model, about, data.metadata, data.training, batches, seed=seed)
                traits["held-out pairs"] = pairs_trait(data.probe_provenance, data.held_out)
                checkpoint, memory = run.begin(traits, memory=memory_budget(model.device) / 2)
                scorer = PolicyScorer.of(model, tokenizer, data.training)
                measuring = _measuring(scorer, data, micro_batch, reference, checkpoint, memory=memory, shown=progress)
                seen = run_comparison(measuring, data, batches, wanted, seconds)
            result = _record(seen, data, about, wanted, batches, arguments=given, command=command, seconds=seconds)
        if out is not None:
            result.save(out)
            run.clear()
    return result


def _record(
    seen: ComparisonResults,
    data: ComparisonData,
    model: ModelProvenance,
    wanted: ComparisonConfig,
    batches: Sequence[Sequence[int]],
    *,
    arguments: dict[str, Argument],
    command: str | None,
    seconds: dict[str, float],
) -> Comparison:
    tables, summaries = _lay_out(seen, data, batches, wanted)
    metadata = ComparisonMetadata(
        format_version=COMPARISON_FORMAT,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        versions=versions(),
        arguments=wanted.arguments() | arguments,
        data=data.metadata,
        probe=data.probe_provenance,
        before_split=data.before_split,
        model=model,
        update_batches=tuple(map(len, batches)),
        followed=seen.ground.counts,
        text_limit=TEXT_LIMIT,
        objectives=summaries,
        left_out=dict(seen.choice.left_out),
        per_pair=seen.how,
        real_steps=seen.real_steps,
        seconds=seconds,
    )
    return Comparison(*tables, metadata)


def _measuring(
    scorer: PolicyScorer,
    data: ComparisonData,
    micro_batch: int | Literal["auto"],
    reference: Reference,
    checkpoint: Checkpoint,
    *,
    memory: float,
    shown: bool,
) -> ModelQueries:
    passes = pass_limit(scorer, (*data.training, *data.held_out), micro_batch, memory=memory)
    return ModelQueries(scorer, passes, reference, memory, checkpoint, shown)


def _lay_out(
    seen: ComparisonResults, data: ComparisonData, batches: Sequence[Sequence[int]], wanted: ComparisonConfig
) -> tuple[tuple[pa.Table, pa.Table, pa.Table], tuple[ObjectiveComparison, ...]]:
    """The three tables, and one summary an objective."""
    labels, rate = list(seen.choice.objectives), wanted.learning_rate
    own, outcomes = own_steps(labels, seen.steps, seen.training, learning_rate=rate)
    rows = compare_table(seen.steps, own, outcomes, data.training, batches, learning_rate=rate)
    pairs = training_table(pairs_table(data.training, batches, seen.batches), seen.products, batches)
    held_out = held_out_table(labels, data.held_out, seen.per_pair, learning_rate=rate)
    summaries = summarize(
        seen.choice.objectives, seen.steps, seen.changes, outcomes, gridded=wanted.choice.gridded,
        trajectories=seen.trajectories,
    )  # fmt: skip
    return (rows, pairs, held_out), summaries
