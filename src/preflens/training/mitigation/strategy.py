"""The interface of all ways to apply a mitigation inside a training step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from preflens.gram.training_step.deferred import DeferredGradients
from preflens.language_models.batch import PairBatch
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.training.mitigation.held_out_constraints import ConstraintPairs
from preflens.training.mitigation.state import MitigationState
from preflens.training.trainer_protocol import ObjectiveTrainerLike

# TRL's training step of one micro-batch, which calls `Strategy.loss` once and returns the loss.
TrainingStep = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class StrategyContext:
    """Where a strategy works.

    Attributes:
        trainer: a `PreferenceTrainer`.
        whole_update: whether mitigations of scope `batch` see all micro-batches of an update together.
        constraints: held-out pairs that a cone does not harm, or None.
    """

    trainer: ObjectiveTrainerLike
    whole_update: bool
    constraints: ConstraintPairs | None


@runtime_checkable
class Strategy(Protocol):
    """One way to apply a mitigation.

    Attributes:
        needs_response_rows: whether only response rows may be scored (`replace_head`).
        state: of the mitigation, kept from update to update, or None.
    """

    needs_response_rows: bool

    @property
    def state(self) -> MitigationState | None:
        """The state of the mitigation, kept from update to update, or None."""

    @property
    def capture(self) -> DeferredGradients | None:
        """The per-response gradients of the micro-batch in progress, where they are captured."""

    @property
    def repeats(self) -> bool:
        """Whether the pass in progress repeats one of the same step, which was logged already."""

    def prepare(self, batch: PairBatch) -> "Strategy":
        """Check the model on the pairs of the first micro-batch, and return the strategy that works with it."""

    def restore(self, state: MitigationState) -> None:
        """Continue with a state that was saved with a checkpoint; a state of another kind is ignored."""

    def run(self, step: TrainingStep) -> tuple[Tensor, Mapping[str, float]]:
        """Run a micro-batch and leave its gradient in `param.grad`; return the loss, and metrics to log."""

    def loss(self, objective: Objective, logps: PairLogps, batch: PairBatch) -> Tensor:
        """Compute the loss to differentiate: a mean over the pairs of the micro-batch."""
