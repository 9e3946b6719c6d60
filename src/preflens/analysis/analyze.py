"""Predict what one preference-tuning step would do to the log-probs of preference pairs."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from transformers import PreTrainedTokenizerBase

from preflens.analysis.measurement.checkpoint import Checkpoint, measure_batches
from preflens.analysis.measurement.forward_passes import MicroBatches, PolicyScorer, make_passes
from preflens.analysis.measurement.geometry import BatchGeometry, batch_geometry
from preflens.analysis.measurement.memory_budget import memory_budget, pass_limit
from preflens.analysis.measurement.progress import progress_bar, timed
from preflens.analysis.measurement.provenance import data_provenance, describe_reference, model_provenance, versions
from preflens.analysis.measurement.run_identity import run_traits
from preflens.analysis.measurement.unfinished import unfinished_run
from preflens.analysis.measurement.update_batches import longest_first, sample_pairs, update_batches
from preflens.analysis.measurement.validation import (
    check_inputs,
    check_model,
    check_verify_batches,
    check_vocabulary,
    usable_length,
)
from preflens.analysis.measurement.verification import verify_objective
from preflens.analysis.options import DataOptions, RunOptions, StepOptions
from preflens.analysis.run_label import run_label
from preflens.analysis.summaries.statistics import summarize_geometry, summarize_layers, summarize_objectives
from preflens.analysis.summaries.tables import objectives_table, pairs_table
from preflens.language_models.model import LanguageModel, Reference
from preflens.language_models.parameters import observing
from preflens.language_models.reading import PairInput, pair_source
from preflens.objectives.kinds.base import Objective
from preflens.objectives.parse import resolve_objectives
from preflens.records.analysis import ANALYSIS_FILES, UNFINISHED_ANALYSIS, Analysis
from preflens.records.analysis_metadata import FORMAT_VERSION, AnalysisMetadata, Verification
from preflens.records.analysis_schema import TEXT_LIMIT
from preflens.records.common import Argument


def analyze(
    model: LanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: PairInput,
    *,
    objectives: Sequence[str | Objective] = ("dpo",),
    reference: Reference = "self",
    verify_batches: int = 0,
    data: DataOptions = DataOptions(),
    step: StepOptions = StepOptions(),
    run: RunOptions = RunOptions(),
) -> Analysis:
    """Measure the gradient geometry of preference pairs and predict what one step of each objective would do.

    One pass over the pairs gives the Gram matrix of all response gradients of each update batch. Every objective then
    only contributes its coefficients. Predictions are first order, for a plain gradient step at this checkpoint.

    Args:
        model: a Hugging Face causal language model. It is the same afterwards.
        tokenizer: the model's tokenizer.
        pairs: rows in TRL's columns (a list of dicts, a `datasets.Dataset`), or the result of `read_pairs`.
        objectives: names from `OBJECTIVES` with optional parameters (`simpo:beta=2,gamma=1`), or objectives.
        reference: a reference model, or a word. `self`: the policy itself, as at the first step of training.
            `adapter-copy`: the frozen copy that TRL keeps of an adapter that training continues from. `adapter-off`:
            the policy without its PEFT adapter. `none`: no reference.
        verify_batches: number of update batches on which the step is really taken, measured and undone.
        data: which pairs are used, and how much of each.
        step: the step that is predicted.
        run: where results are saved, memory and progress.

    Returns:
        Tables and summaries; see `Analysis`.

    Example:
        >>> from preflens.demo.tiny_model import make_model, make_tokenizer
        >>> answers = [("good", "bad"), ("great", "dull"), ("fun", "boring")]
        >>> rows = [{"prompt": "the film was", "chosen": f" {a}", "rejected": f" {b}"} for a, b in answers]
        >>> tokenizer = make_tokenizer()
        >>> model = make_model(tokenizer, seed=0).eval()
        >>> result = analyze(model, tokenizer, rows, objectives=["dpo"], run=RunOptions(progress=False))
        >>> result.metadata.objectives[0].label, result.pairs.num_rows
        ('dpo', 3)
    """
    named = resolve_objectives(objectives)
    check_model(model)
    check_inputs(named, reference)
    check_verify_batches(verify_batches)
    max_length, label, seconds = usable_length(model, data.max_length), run_label(), dict[str, float]()
    with unfinished_run(
        run.out, UNFINISHED_ANALYSIS, files=ANALYSIS_FILES, discard=run.discard, command=label.command
    ) as unfinished:
        with timed(seconds, "total"):
            source = pair_source(pairs)
            read, used = sample_pairs(source, tokenizer, max_length=max_length, limit=data.limit, seed=data.seed)
            check_vocabulary(used, model, reference)
            batches = longest_first(update_batches(len(used), size=step.update_batch_size, seed=data.seed), used)
            pairs_read = data_provenance(source, read, used, max_length=max_length)
            with observing(model, step.trainable):
                scorer = PolicyScorer.of(model, tokenizer, used)
                policy = model_provenance(
                    model, name=label.model_name, selection=step.trainable,
                    reference=describe_reference(reference, model),
                )  # fmt: skip
                traits = run_traits(model, policy, pairs_read, used, batches=batches, seed=data.seed)
                checkpoint, memory = unfinished.begin(traits, memory=memory_budget(model.device) / 2)
                limit = pass_limit(scorer, used, run.micro_batch, memory=memory)

                def passes(batch: Sequence[int]) -> MicroBatches:
                    return make_passes(scorer, [used[i] for i in batch], limit)

                measure = partial(batch_geometry, reference=reference, memory=memory)
                with timed(seconds, "geometry"):
                    geometries = measure_batches(batches, passes, measure, checkpoint, progress=run.progress)
                verified = batches[:verify_batches]
                with timed(seconds, "verification"):
                    checks = _verify(named, verified, passes, geometries, checkpoint=checkpoint, progress=run.progress)
            pair_rows = pairs_table(used, batches, geometries)
            rows = objectives_table(named, used, batches, geometries, learning_rate=step.learning_rate)
            geometry, layers = summarize_geometry(pair_rows), summarize_layers(geometries)
            summaries = summarize_objectives(named, pair_rows, rows)
        metadata = AnalysisMetadata(
            format_version=FORMAT_VERSION, created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=label.command, versions=versions(), arguments=_arguments(data, step, run, verify_batches),
            data=pairs_read, model=policy, update_batches=tuple(map(len, batches)), text_limit=TEXT_LIMIT,
            geometry=geometry, layers=layers, objectives=summaries, verification=checks, seconds=seconds,
        )  # fmt: skip
        result = Analysis(pair_rows, rows, metadata)
        if run.out is not None:
            result.save(run.out)
            unfinished.clear()
    return result


def _arguments(data: DataOptions, step: StepOptions, run: RunOptions, verify_batches: int) -> dict[str, Argument]:
    """The arguments for the record, by their names on the command line."""
    return {
        "update_batch_size": step.update_batch_size, "micro_batch": run.micro_batch,
        "learning_rate": step.learning_rate, "max_length": data.max_length, "limit": data.limit, "seed": data.seed,
        "verify": verify_batches,
    }  # fmt: skip


def _verify(
    objectives: Mapping[str, Objective],
    batches: Sequence[Sequence[int]],
    passes: Callable[[Sequence[int]], MicroBatches],
    geometries: Sequence[BatchGeometry],
    *,
    checkpoint: Checkpoint,
    progress: bool,
) -> tuple[Verification, ...]:
    """Take real steps of every objective; finished objectives are kept in the checkpoint."""
    if not batches:
        return ()
    prepared, first, verified = [passes(batch) for batch in batches], geometries[: len(batches)], []
    with progress_bar("Real steps", total=len(objectives) * len(batches), shown=progress) as advance:
        for label, objective in objectives.items():
            step = partial(verify_objective, label, objective, prepared, first, advance=advance)
            coefficients = [objective.coefficients(geometry.logps).signed().tolist() for geometry in first]
            verified.append(checkpoint.record(Verification, step, label, coefficients))
    return tuple(verified)
