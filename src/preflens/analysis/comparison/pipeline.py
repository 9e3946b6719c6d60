"""The comparison pipeline: model passes first, then per-objective predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.comparison.data import ComparisonData
from preflens.analysis.comparison.first_step import FirstSteps, Training, first_steps, stack_batches
from preflens.analysis.comparison.model_queries import ModelQueries
from preflens.analysis.comparison.per_pair import describe_strategy
from preflens.analysis.comparison.real_steps import take_real_steps
from preflens.analysis.comparison.rollout_pairs import RolloutSetup
from preflens.analysis.comparison.rollouts import recorded_steps, trajectories
from preflens.analysis.comparison.selection import Choice
from preflens.analysis.comparison.summary import FirstChange, first_changes
from preflens.analysis.measurement.geometry import BatchGeometry
from preflens.analysis.measurement.progress import one_thread, progress_bar, timed
from preflens.analysis.options import ComparisonOptions, DataOptions, StepOptions
from preflens.objectives.kinds.base import Objective
from preflens.records.common import Argument
from preflens.records.comparison_metadata import RealSteps, Trajectory


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """What a comparison computes.

    Attributes:
        choice: the objectives.
        verified: objectives whose steps are really taken, by label.
        data: the seed draws the held-out pairs that the rollout follows.
        step: the step that is predicted.
        options: rollout and real steps.
    """

    choice: Choice
    verified: Mapping[str, Objective]
    data: DataOptions
    step: StepOptions
    options: ComparisonOptions

    @property
    def horizon(self) -> tuple[int, ...]:
        """Numbers of steps after which the rollout is reported, in order."""
        return tuple(self.options.horizon)

    def equal_margin_rate(self, change: FirstChange) -> float | None:
        """Compute the learning rate at which the margin gains `margin_gain` by the last step, at the first one's pace.

        Args:
            change: means of an objective's first step.

        Returns:
            η, or None where the margin does not clearly grow.
        """
        scale = change.margin_scale
        return None if scale is None else self.step.learning_rate * scale * self.options.margin_gain / self.horizon[-1]

    def arguments(self) -> dict[str, Argument]:
        """Return all of it for the record, by the names on the command line."""
        return {
            "objectives": " ".join(self.choice.objectives), "learning_rate": self.step.learning_rate,
            "horizon": ",".join(map(str, self.horizon)), "margin_gain": self.options.margin_gain,
            "rollout_pairs": self.options.rollout_pairs, "per_pair": self.options.per_pair,
            "verify": " ".join(self.verified), "small_steps": self.options.verify_batches, "seed": self.data.seed,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ComparisonResults:
    """What the passes measured and what the objectives were predicted to do.

    Attributes:
        choice: the objectives, without those that are not defined on these pairs.
        batches: geometry of every update batch.
        products: inner products of the training responses with the gradients of the held-out means.
        training: the training pairs, update batch after update batch.
        steps: the first step of every objective.
        changes: means of these steps at the learning rate of the comparison, by label.
        rollout_setup: the pairs that the rollout follows.
        trajectories: by label.
        per_pair: change of every held-out pair at learning rate 1, or None.
        per_pair_method: how it was computed, or None.
        real_steps: of the verified objectives.
    """

    choice: Choice
    batches: list[BatchGeometry]
    products: Float64[Tensor, "two side pair"]
    training: Training
    steps: FirstSteps
    changes: Mapping[str, FirstChange]
    rollout_setup: RolloutSetup
    trajectories: Mapping[str, tuple[Trajectory, ...]]
    per_pair: Float64[Tensor, "objective two held_out"] | None
    per_pair_method: str | None
    real_steps: tuple[RealSteps, ...]


def run_comparison(
    queries: ModelQueries,
    data: ComparisonData,
    batches: Sequence[Sequence[int]],
    config: ComparisonConfig,
    *,
    seconds: dict[str, float],
) -> ComparisonResults:
    """Run the model passes, then predict the steps of every objective.

    Args:
        queries: passes of the model.
        data: the pairs.
        batches: positions of each update batch's training pairs.
        config: what to compute.
        seconds: wall-clock time by part; parts are added.

    Returns:
        All results.
    """
    pairs, options = [[data.training[i] for i in batch] for batch in batches], config.options
    with timed(seconds, "geometry"):
        geometries = queries.geometry(pairs)
    with timed(seconds, "held-out means"):
        products = queries.products(pairs, data.held_out)
    with timed(seconds, "geometry of the rollout"):
        setup = queries.rollout_setup(pairs, data.held_out, pairs=options.rollout_pairs, seed=config.data.seed)
    with timed(seconds, "first steps"), one_thread():
        training = stack_batches(geometries)
        choice = config.choice.defined_for(training)
        steps = first_steps(choice.objectives, training, products, choice.mitigations)
        changes = first_changes(list(choice.objectives), steps, training, learning_rate=config.step.learning_rate)
    with timed(seconds, "rollout"), one_thread():
        paths = trajectories(
            choice.objectives, setup.followed, learning_rate=config.step.learning_rate,
            equal_margin_rates={label: config.equal_margin_rate(change) for label, change in changes.items()},
            steps=recorded_steps(config.horizon), mitigations=choice.mitigations,
        )  # fmt: skip
    per_pair, method = None, None
    if options.per_pair:
        with timed(seconds, "single held-out pairs"):
            per_pair = queries.per_pair(pairs, data.held_out, steps.signed)
            method = describe_strategy(len(choice.objectives), len(data.held_out))
    with timed(seconds, "real steps"):
        real_steps = _verify(queries, setup, paths, config)
    return ComparisonResults(
        choice=choice, batches=geometries, products=products, training=training, steps=steps, changes=changes,
        rollout_setup=setup, trajectories=paths, per_pair=per_pair, per_pair_method=method, real_steps=real_steps,
    )  # fmt: skip


def _verify(
    queries: ModelQueries, setup: RolloutSetup, paths: Mapping[str, tuple[Trajectory, ...]], config: ComparisonConfig
) -> tuple[RealSteps, ...]:
    """Take real steps of the verified objectives; finished objectives are kept in the checkpoint."""
    if not config.verified:
        return ()
    small_steps, records = config.options.verify_batches, []
    verified = {label: objective for label, objective in config.verified.items() if label in paths}
    total = sum(min(small_steps, len(setup.batches)) + len(paths[label]) for label in verified)
    with progress_bar("Real steps", total=total, shown=queries.progress) as advance:
        for label, objective in verified.items():
            take = partial(
                take_real_steps, label, objective, setup, paths[label], small_steps=small_steps,
                horizons=config.horizon, advance=advance,
            )  # fmt: skip
            records.append(queries.kept_record(RealSteps, take, label, small_steps, config.horizon, paths[label]))
    return tuple(records)
