"""From pairs to everything a comparison knows: the sweeps over the model, then what the objectives make of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.comparison.data import ComparisonData
from preflens.analysis.comparison.first_step import FirstSteps, Training, first_steps, stack_batches
from preflens.analysis.comparison.model_queries import ModelQueries
from preflens.analysis.comparison.per_pair import describe_strategy
from preflens.analysis.comparison.real_steps import RolloutSetup, take_real_steps
from preflens.analysis.comparison.rollouts import recorded_steps, trajectories
from preflens.analysis.comparison.selection import Choice, check_rollout_arguments
from preflens.analysis.comparison.summary import FirstChange, first_changes
from preflens.analysis.measurement.geometry import BatchGeometry
from preflens.analysis.measurement.progress import one_thread, progress_bar, timed
from preflens.objectives.kinds.base import Objective
from preflens.records.common import Argument
from preflens.records.comparison_metadata import RealSteps, Trajectory


@dataclass(frozen=True)
class ComparisonConfig:
    """What is asked of a comparison.

    Attributes:
        choice: the objectives.
        learning_rate: η.
        horizon: after how many steps to look at the rollout.
        margin_gain: nats of margin by the last step of the rescaled rollout.
        rollout_pairs: training and held-out pairs to follow.
        per_pair: whether every single held-out pair is wanted.
        verify: objectives whose steps are taken for real.
        small_steps: how many small ones.
        seed: of the held-out pairs that are followed.
    """

    choice: Choice
    learning_rate: float
    horizon: tuple[int, ...]
    margin_gain: float
    rollout_pairs: int
    per_pair: bool
    verify: Mapping[str, Objective]
    small_steps: int
    seed: int

    def __post_init__(self) -> None:
        check_rollout_arguments(
            margin_gain=self.margin_gain, rollout_pairs=self.rollout_pairs, small_steps=self.small_steps
        )  # fmt: skip

    def own_rate(self, change: FirstChange) -> float | None:
        """Find the rate at which the margin gains what was asked for by the last step, at the pace of the first.

        Args:
            change: of an objective's first step.

        Returns:
            η, or None where the margin does not clearly grow.
        """
        scale = change.margin_scale
        return None if scale is None else self.learning_rate * scale * self.margin_gain / self.horizon[-1]

    def arguments(self) -> dict[str, Argument]:
        """Return all of it for the record."""
        return {
            "objectives": " ".join(self.choice.objectives), "learning_rate": self.learning_rate,
            "horizon": ",".join(map(str, self.horizon)), "margin_gain": self.margin_gain,
            "rollout_pairs": self.rollout_pairs, "per_pair": self.per_pair, "verify": " ".join(self.verify),
            "small_steps": self.small_steps, "seed": self.seed,
        }  # fmt: skip


@dataclass(frozen=True)
class ComparisonResults:
    """What was found.

    Attributes:
        choice: the objectives, without those that are not defined on these pairs.
        batches: geometry of every update batch.
        products: of training responses with the held-out means.
        training: the training pairs, update batch after update batch.
        steps: the first step of every objective.
        changes: means of these steps at the learning rate asked for, by label.
        ground: the pairs that are followed.
        trajectories: by label.
        per_pair: change of every held-out pair at learning rate 1, or None.
        how: it was computed.
        real_steps: of the objectives that were to be verified.
    """

    choice: Choice
    batches: list[BatchGeometry]
    products: Float64[Tensor, "two side pair"]
    training: Training
    steps: FirstSteps
    changes: Mapping[str, FirstChange]
    ground: RolloutSetup
    trajectories: Mapping[str, tuple[Trajectory, ...]]
    per_pair: Float64[Tensor, "objective two held_out"] | None
    how: str | None
    real_steps: tuple[RealSteps, ...]


def run_comparison(
    measuring: ModelQueries,
    data: ComparisonData,
    batches: Sequence[Sequence[int]],
    wanted: ComparisonConfig,
    seconds: dict[str, float],
) -> ComparisonResults:
    """Ask the model, then the objectives.

    Args:
        measuring: how the model is asked.
        data: the pairs.
        batches: positions of each update batch's training pairs.
        wanted: what is asked.
        seconds: wall-clock time by part; parts are added.

    Returns:
        Everything.
    """
    pairs = [[data.training[i] for i in batch] for batch in batches]
    with timed(seconds, "geometry"):
        found = measuring.geometry(pairs)
    with timed(seconds, "held-out means"):
        products = measuring.products(pairs, data.held_out)
    with timed(seconds, "geometry of the rollout"):
        ground = measuring.ground(pairs, data.held_out, pairs=wanted.rollout_pairs, seed=wanted.seed)
    with timed(seconds, "first steps"), one_thread():
        training = stack_batches(found)
        choice = wanted.choice.defined_for(training)
        objectives = choice.objectives
        steps = first_steps(objectives, training, products, choice.mitigations)
        first = first_changes(list(objectives), steps, training, learning_rate=wanted.learning_rate)
    with timed(seconds, "rollout"), one_thread():
        paths = trajectories(
            objectives, ground.followed, learning_rate=wanted.learning_rate,
            own_rates={label: wanted.own_rate(change) for label, change in first.items()},
            steps=recorded_steps(wanted.horizon), mitigations=choice.mitigations,
        )  # fmt: skip
    changes, how = None, None
    if wanted.per_pair:
        with timed(seconds, "single held-out pairs"):
            changes = measuring.per_pair(pairs, data.held_out, steps.signed)
            how = describe_strategy(len(objectives), len(data.held_out))
    with timed(seconds, "real steps"):
        walked = _walk(measuring, ground, paths, wanted)
    return ComparisonResults(choice, found, products, training, steps, first, ground, paths, changes, how, walked)


def _walk(
    measuring: ModelQueries, ground: RolloutSetup, paths: Mapping[str, tuple[Trajectory, ...]], wanted: ComparisonConfig
) -> tuple[RealSteps, ...]:
    if not wanted.verify:
        return ()
    small, horizon, found = wanted.small_steps, wanted.horizon, []
    verified = {label: objective for label, objective in wanted.verify.items() if label in paths}
    total = sum(min(small, len(ground.batches)) + len(paths[label]) for label in verified)
    with progress_bar("Real steps", total=total, shown=measuring.progress) as advance:
        for label, objective in verified.items():
            walk = partial(
                take_real_steps,
                label,
                objective,
                ground,
                paths[label],
                small_steps=small,
                horizons=horizon,
                advance=advance,
            )
            found.append(measuring.remembered(RealSteps, walk, label, small, horizon, paths[label]))
    return tuple(found)
