"""The main job: what would a preference-tuning step do to the log-probs of these pairs?"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from preflens.analysis.measurement.checkpoint import Checkpoint, measure_batches
from preflens.analysis.measurement.forward_passes import MicroBatches, PolicyScorer, make_passes
from preflens.analysis.measurement.geometry import BatchGeometry, batch_geometry
from preflens.analysis.measurement.memory_budget import memory_budget, pass_limit
from preflens.analysis.measurement.progress import progress_bar, timed
from preflens.analysis.measurement.run_identity import run_traits
from preflens.analysis.measurement.unfinished import unfinished_run
from preflens.analysis.measurement.update_batches import longest_first, sample_pairs, update_batches
from preflens.analysis.measurement.validation import check_arguments, check_vocabulary, usable_length
from preflens.analysis.measurement.verification import verify as verify_objective
from preflens.analysis.summaries.provenance import data_provenance, describe_reference, model_provenance, versions
from preflens.analysis.summaries.statistics import summarize_geometry, summarize_layers, summarize_objectives
from preflens.analysis.summaries.tables import objectives_table, pairs_table
from preflens.language_models.model import LanguageModel, Reference, check_experts, check_rows_are_independent
from preflens.language_models.parameters import observing
from preflens.language_models.reading import PairInput, pair_source
from preflens.language_models.tokenizing import TokenizedPair
from preflens.objectives.kinds.base import Objective
from preflens.objectives.parse import resolve_objectives
from preflens.records.analysis import ANALYSIS_FILES, UNFINISHED_ANALYSIS, Analysis
from preflens.records.analysis_metadata import (
    FORMAT_VERSION,
    AnalysisMetadata,
    Geometry,
    LayerSums,
    ObjectiveSummary,
    Verification,
)
from preflens.records.analysis_schema import TEXT_LIMIT
from preflens.records.common import Argument


def analyze(
    model: LanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: PairInput,
    *,
    objectives: Sequence[str | Objective] = ("dpo",),
    reference: Reference = "self",
    parameters: str = "trainable",
    update_batch_size: int = 16,
    micro_batch: int | Literal["auto"] = "auto",
    learning_rate: float = 1e-6,
    max_length: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    verify: int = 0,
    out: str | Path | None = None,
    discard: bool = False,
    progress: bool = True,
    name: str | None = None,
    command: str | None = None,
) -> Analysis:
    """Measure the gradient geometry of preference pairs and predict what one step of each objective would do.

    One pass over the pairs gives the Gram matrix of all response gradients of each update batch; every objective then
    only contributes its coefficients. Predictions are first order, for a plain gradient step at this checkpoint.

    Args:
        model: a Hugging Face causal language model; left as it was found.
        tokenizer: its tokenizer.
        pairs: rows in TRL's columns (a list of dicts, a `datasets.Dataset`), or what `read_pairs` returned.
        objectives: names of the table with optional parameters (`simpo:beta=2,gamma=1`), or objectives.
        reference: a reference model; `self`: the policy itself, as at the first step of training; `adapter-copy`: the
            frozen copy that TRL keeps of an adapter that training goes on from; `adapter-off`: the policy without its
            PEFT adapter; `none`.
        parameters: which parameters a step moves: `trainable`, `all`, `lora`, or a regular expression on names.
        update_batch_size: pairs that share a step, at most: batches are as equal as can be; drawn by `seed`.
        micro_batch: pairs in a forward pass; bounds memory and changes no number beyond rounding. `auto`: as many as
            keep a pass within a quarter of the memory that is free.
        learning_rate: η of the step that is predicted.
        max_length: tokens of prompt and response; default the smaller of 1024 and the model's context.
        limit: analyse a random sample of so many pairs.
        seed: of the sample and of the update batches.
        verify: on so many update batches, take the step for real, measure, and undo it.
        out: folder for the results. Finished update batches are kept in it until the results are saved: an interrupted
            run goes on from there, and another one is refused while they are there. None saves nothing.
        discard: throw away what an unfinished run has left in `out`.
        progress: show a progress bar on standard error.
        name: what to call the model in the record.
        command: command line for the record.

    Returns:
        Tables and summaries; see `Analysis`.
    """
    wanted = resolve_objectives(objectives)
    check_rows_are_independent(model)
    check_experts(model)
    length = usable_length(model, max_length)
    check_arguments(
        wanted, reference=reference, update_batch_size=update_batch_size, micro_batch=micro_batch,
        learning_rate=learning_rate, limit=limit, verify=verify,
    )  # fmt: skip
    seconds: dict[str, float] = {}
    arguments: dict[str, Argument] = {
        "update_batch_size": update_batch_size, "micro_batch": micro_batch, "learning_rate": learning_rate,
        "max_length": max_length, "limit": limit, "seed": seed, "verify": verify,
    }  # fmt: skip
    with unfinished_run(out, UNFINISHED_ANALYSIS, files=ANALYSIS_FILES, discard=discard, command=command) as run:
        with timed(seconds, "total"):
            source = pair_source(pairs)
            tokenized, used = sample_pairs(source, tokenizer, max_length=length, limit=limit, seed=seed)
            check_vocabulary(used, model, reference)
            batches = longest_first(update_batches(len(used), size=update_batch_size, seed=seed), used)
            data = data_provenance(source, tokenized, used, max_length=length)
            with observing(model, parameters):
                scorer = PolicyScorer.of(model, tokenizer, used)
                about = model_provenance(
                    model, name=name, selection=parameters, reference=describe_reference(reference, model)
                )
                traits = run_traits(model, about, data, used, batches, seed=seed)
                checkpoint, memory = run.begin(traits, memory=memory_budget(model.device) / 2)
                limit_of_pass = pass_limit(scorer, used, micro_batch, memory=memory)

                def passes(batch: Sequence[int]) -> MicroBatches:
                    return make_passes(scorer, [used[i] for i in batch], limit_of_pass)

                with timed(seconds, "geometry"):
                    look = partial(batch_geometry, reference=reference, memory=memory)
                    found = measure_batches(batches, passes, look, checkpoint, progress=progress)
                with timed(seconds, "verification"):
                    verified = _verify(wanted, batches[:verify], passes, found, checkpoint, progress=progress)
            tables, summaries = _lay_out(wanted, used, batches, found, learning_rate=learning_rate)
        geometry, layers, objective_summaries = summaries
        metadata = AnalysisMetadata(
            format_version=FORMAT_VERSION,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
            versions=versions(),
            arguments=arguments,
            data=data,
            model=about,
            update_batches=tuple(map(len, batches)),
            text_limit=TEXT_LIMIT,
            geometry=geometry,
            layers=layers,
            objectives=objective_summaries,
            verification=verified,
            seconds=seconds,
        )
        result = Analysis(*tables, metadata)
        if out is not None:
            result.save(out)
            run.clear()
    return result


def _lay_out(
    objectives: Mapping[str, Objective],
    pairs: Sequence[TokenizedPair],
    batches: Sequence[Sequence[int]],
    found: Sequence[BatchGeometry],
    *,
    learning_rate: float,
) -> tuple[tuple[pa.Table, pa.Table], tuple[Geometry, tuple[LayerSums, ...], tuple[ObjectiveSummary, ...]]]:
    """The two tables, and what they come to: of the pairs, of the layers, and of each objective."""
    pair_rows = pairs_table(pairs, batches, found)
    rows = objectives_table(objectives, pairs, batches, found, learning_rate=learning_rate)
    summaries = summarize_objectives(objectives, pair_rows, rows)
    return (pair_rows, rows), (summarize_geometry(pair_rows), summarize_layers(found), summaries)


def _verify(
    objectives: Mapping[str, Objective],
    batches: Sequence[Sequence[int]],
    passes: Callable[[Sequence[int]], MicroBatches],
    found: Sequence[BatchGeometry],
    checkpoint: Checkpoint,
    *,
    progress: bool,
) -> tuple[Verification, ...]:
    """Step for real; the steps of an objective are kept, too."""
    if not batches:
        return ()
    prepared, seen, verified = [passes(batch) for batch in batches], found[: len(batches)], []
    with progress_bar("Real steps", total=len(objectives) * len(batches), shown=progress) as advance:
        for label, objective in objectives.items():
            step = partial(verify_objective, label, objective, prepared, seen, advance=advance)
            coefficients = [objective.coefficients(geometry.logps).signed().tolist() for geometry in seen]
            verified.append(checkpoint.record(Verification, step, label, coefficients))
    return tuple(verified)
