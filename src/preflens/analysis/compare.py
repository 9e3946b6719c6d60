"""Compare objectives on preference pairs: their first step, and many steps with the Gram held fixed."""

from collections.abc import Sequence
from datetime import UTC, datetime

from transformers import PreTrainedTokenizerBase

from preflens.analysis.comparison.data import ComparisonData, comparison_data
from preflens.analysis.comparison.model_queries import ModelQueries
from preflens.analysis.comparison.pipeline import ComparisonConfig, ComparisonResults, run_comparison
from preflens.analysis.comparison.selection import choose_objectives, choose_verified
from preflens.analysis.comparison.summary import own_steps, summarize
from preflens.analysis.comparison.tables import compare_table, held_out_table, training_table
from preflens.analysis.measurement.forward_passes import PolicyScorer
from preflens.analysis.measurement.memory_budget import memory_budget, pass_limit
from preflens.analysis.measurement.progress import timed
from preflens.analysis.measurement.provenance import describe_reference, model_provenance, versions
from preflens.analysis.measurement.run_identity import pairs_trait, run_traits
from preflens.analysis.measurement.unfinished import unfinished_run
from preflens.analysis.measurement.validation import check_inputs, check_model, check_vocabulary, usable_length
from preflens.analysis.options import ComparisonOptions, DataOptions, RunOptions, StepOptions
from preflens.analysis.run_label import run_label
from preflens.analysis.summaries.tables import pairs_table
from preflens.language_models.model import LanguageModel, Reference
from preflens.language_models.parameters import observing
from preflens.language_models.reading import PairInput
from preflens.mitigations import Mitigation
from preflens.objectives.kinds.base import Objective
from preflens.records.analysis_schema import TEXT_LIMIT
from preflens.records.common import Argument, ModelProvenance
from preflens.records.comparison import COMPARISON_FILES, UNFINISHED_COMPARISON, Comparison
from preflens.records.comparison_metadata import COMPARISON_FORMAT, ComparisonMetadata


def compare(
    model: LanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: PairInput,
    *,
    objectives: Sequence[str | Objective] = ("all",),
    grid: Sequence[str] = (),
    mitigations: Sequence[str | Mitigation] = (),
    held_out: PairInput | None = None,
    reference: Reference = "self",
    data: DataOptions = DataOptions(),
    step: StepOptions = StepOptions(),
    comparison: ComparisonOptions = ComparisonOptions(),
    run: RunOptions = RunOptions(),
) -> Comparison:
    """Compare objectives on preference pairs: which raise the chosen log-probs, also of held-out pairs.

    One pass over the training pairs gives the geometry of every update batch. One over the held-out pairs gives the
    gradients of their mean log-probs, and one more over the training pairs the inner products of the two. From there
    on, an objective or a grid point costs its coefficients only. A rollout with the Gram held fixed tells objectives
    apart whose first steps have the same direction. All of it is first order, for plain gradient steps from this
    checkpoint.

    Args:
        model: a Hugging Face causal language model. It is the same afterwards.
        tokenizer: the model's tokenizer.
        pairs: rows in TRL's columns, or the result of `read_pairs`.
        objectives: names from `OBJECTIVES` with optional parameters, or objectives. `all`: every entry that can be
            compared on these pairs.
        grid: one text per parameter, `OBJECTIVE.PARAMETER=VALUE,VALUE`. All combinations are compared, too.
        mitigations: names from `MITIGATIONS` with optional parameters, or mitigations that are maps of coefficients.
            Every objective named in `objectives` (`dpo` where only `all` is given) is also compared with its steps
            passed through each of them.
        held_out: held-out pairs. Those that are also training pairs are dropped and counted. None holds out a share of
            `pairs`.
        reference: a reference model, or a word. `self`: the policy itself, as at the first step of training.
            `adapter-copy`: the frozen copy that TRL keeps of an adapter that training continues from. `adapter-off`:
            the policy without its PEFT adapter. `none`: no reference.
        data: which pairs are used, and how much of each.
        step: the step that is predicted.
        comparison: held-out share, rollout and real steps.
        run: where results are saved, memory and progress.

    Returns:
        Tables and summaries; see `Comparison`.

    Example:
        >>> from preflens.demo.tiny_model import make_model, make_tokenizer
        >>> answers = [("good", "bad"), ("great", "dull"), ("fun", "boring")]
        >>> rows = [{"prompt": "the film was", "chosen": f" {a}", "rejected": f" {b}"} for a, b in answers]
        >>> tokenizer = make_tokenizer()
        >>> model = make_model(tokenizer, seed=0).eval()
        >>> held_out = [{"prompt": "the plot was", "chosen": " good", "rejected": " bad"}]
        >>> result = compare(
        ...     model, tokenizer, rows, held_out=held_out, objectives=["dpo", "sft"], run=RunOptions(progress=False)
        ... )
        >>> [objective.label for objective in result.metadata.objectives]
        ['dpo', 'sft']
    """
    choice = choose_objectives(objectives, grid, reference=reference).with_mitigations(mitigations)
    check_model(model)
    check_inputs(choice.objectives, reference)
    verified = choose_verified(comparison.verify_objectives, choice)
    config = ComparisonConfig(choice=choice, verified=verified, data=data, step=step, options=comparison)
    max_length, label, seconds = usable_length(model, data.max_length), run_label(), dict[str, float]()
    with unfinished_run(
        run.out, UNFINISHED_COMPARISON, files=COMPARISON_FILES, discard=run.discard, command=label.command
    ) as unfinished:
        with timed(seconds, "total"):
            split = comparison_data(
                pairs, held_out, tokenizer, fraction=comparison.held_out_fraction, max_length=max_length,
                limit=data.limit, seed=data.seed,
            )  # fmt: skip
            check_vocabulary((*split.training, *split.held_out), model, reference)
            batches = split.update_batches(size=step.update_batch_size, seed=data.seed)
            with observing(model, step.trainable):
                policy = model_provenance(
                    model, name=label.model_name, selection=step.trainable,
                    reference=describe_reference(reference, model),
                )  # fmt: skip
                traits = run_traits(
                    model, policy, split.training_provenance, split.training, batches=batches, seed=data.seed
                )
                traits["held-out pairs"] = pairs_trait(split.held_out_provenance, split.held_out)
                checkpoint, memory = unfinished.begin(traits, memory=memory_budget(model.device) / 2)
                scorer = PolicyScorer.of(model, tokenizer, split.training)
                limit = pass_limit(scorer, (*split.training, *split.held_out), run.micro_batch, memory=memory)
                queries = ModelQueries(scorer, limit, reference, memory, checkpoint, run.progress)
                results = run_comparison(queries, split, batches, config, seconds=seconds)
            arguments = config.arguments() | {
                "grid": " ".join(grid), "probe_fraction": comparison.held_out_fraction if held_out is None else None,
                "limit": data.limit, "update_batch_size": step.update_batch_size, "micro_batch": run.micro_batch,
                "max_length": data.max_length,
            }  # fmt: skip
            result = _lay_out(
                results, split, batches, learning_rate=step.learning_rate, policy=policy, arguments=arguments,
                command=label.command, seconds=seconds,
            )  # fmt: skip
        if run.out is not None:
            result.save(run.out)
            unfinished.clear()
    return result


def _lay_out(
    results: ComparisonResults,
    data: ComparisonData,
    batches: Sequence[Sequence[int]],
    *,
    learning_rate: float,
    policy: ModelProvenance,
    arguments: dict[str, Argument],
    command: str | None,
    seconds: dict[str, float],
) -> Comparison:
    """The three tables and the metadata."""
    objectives = results.choice.objectives
    alone, outcomes = own_steps(list(objectives), results.steps, results.training, learning_rate=learning_rate)
    summaries = summarize(
        objectives, results.steps, results.changes, outcomes, gridded=results.choice.gridded,
        trajectories=results.trajectories,
    )  # fmt: skip
    metadata = ComparisonMetadata(
        format_version=COMPARISON_FORMAT, created=datetime.now(UTC).isoformat(timespec="seconds"), command=command,
        versions=versions(), arguments=arguments, data=data.training_provenance, probe=data.held_out_provenance,
        before_split=data.before_split, model=policy, update_batches=tuple(map(len, batches)),
        followed=results.rollout_setup.counts, text_limit=TEXT_LIMIT, objectives=summaries,
        left_out=dict(results.choice.left_out), per_pair=results.per_pair_method, real_steps=results.real_steps,
        seconds=seconds,
    )  # fmt: skip
    pair_rows = pairs_table(data.training, batches, results.batches)
    return Comparison(
        compare_table(
            results.steps, alone, outcomes, pairs=data.training, batches=batches, learning_rate=learning_rate
        ),
        training_table(pair_rows, results.products, batches),
        held_out_table(list(objectives), data.held_out, results.per_pair, learning_rate=learning_rate),
        metadata,
    )  # fmt: skip
