"""Fallback for models whose per-response gradients cannot be captured in the training pass.

The geometry comes from a separate pass, and an ordinary backward pass follows with the mitigated coefficients. The
result is exact and costs the extra pass. Autograd and its hooks (gradients averaged over processes) see a plain loss.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from preflens.errors import AuditError, UnsupportedModelError, UnsupportedObjectiveError
from preflens.gram import batch_gram, brute_force_batch_gram, pair_gram
from preflens.language_models.batch import PairBatch
from preflens.language_models.logps import response_logps
from preflens.mitigations import CoefficientMap, MovingAverages
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.training.mitigation.report import mitigation_metrics
from preflens.training.mitigation.state import MitigationState
from preflens.training.mitigation.strategy import Strategy, StrategyContext, TrainingStep
from preflens.training.trainer_protocol import ObjectiveTrainerLike, unwrapped_model
from preflens.types import BatchGram, PairCoefficients

LOGGER = logging.getLogger("preflens")


class TwoPassReweighting:
    """Replaces each loss by one of the same value that has the mitigated coefficients.

    Args:
        mitigation: maps coefficients to coefficients.
        trainer: a `PreferenceTrainer`.

    Attributes:
        needs_response_rows: true, as for one pass, so that the fallback changes nothing else.
        state: moving averages of the mitigation.
        capture: None.
        repeats: false.
    """

    needs_response_rows = True
    capture = None
    repeats = False

    def __init__(self, mitigation: CoefficientMap, trainer: ObjectiveTrainerLike) -> None:
        self._mitigation, self._trainer = mitigation, trainer
        self._metrics: Mapping[str, float] = {}
        self.state: MovingAverages | None = None

    @classmethod
    def instead_of_one(
        cls, mitigation: CoefficientMap, context: StrategyContext, *, why: str, state: MovingAverages | None = None
    ) -> Strategy:
        """Make the fallback, after a warning.

        Args:
            mitigation: maps coefficients to coefficients.
            context: where it works.
            why: the reason that one pass is not possible.
            state: moving averages so far.

        Returns:
            The strategy.

        Raises:
            UnsupportedModelError: there are constraint pairs, which need the capture.
        """
        if context.constraints is not None:
            raise UnsupportedModelError(f"`mitigation_probe` cannot be used: {why}")
        LOGGER.warning(
            "Mitigation `%s` runs a separate pass for the geometry of every micro-batch, because %s",
            mitigation.name, why,
        )  # fmt: skip
        fallback = cls(mitigation, context.trainer)
        fallback.state = state
        return fallback

    def prepare(self, batch: PairBatch) -> Strategy:  # noqa: ARG002  # the interface
        """Return this strategy, which works for every model."""
        return self

    def restore(self, state: MitigationState) -> None:
        """Continue with saved moving averages."""
        if isinstance(state, MovingAverages):
            self.state = state

    def run(self, step: TrainingStep) -> tuple[Tensor, Mapping[str, float]]:
        """Run TRL's training step, whose loss is replaced."""
        loss = step()
        return loss, self._metrics

    def loss(self, objective: Objective, logps: PairLogps, batch: PairBatch) -> Tensor:
        """Return a loss with mitigated coefficients, at the price of a pass for the geometry."""
        return self.reweighted(objective.loss(logps).mean(), logps, partial(micro_batch_gram, self._trainer, batch))

    def reweighted(self, loss: Tensor, logps: PairLogps, gram: Callable[[], BatchGram]) -> Tensor:
        """Replace the derivatives of a loss.

        Args:
            loss: mean over the pairs of a micro-batch.
            logps: log-probs with their graph; the loss depends on nothing else.
            gram: computes the geometry of the pairs.

        Returns:
            A loss of the same value whose derivatives with respect to the log-probs are −d_w'/n and d_l'/n.

        Raises:
            UnsupportedObjectiveError: the loss depends on single tokens.
        """
        sides, pairs = (logps.chosen, logps.rejected), len(logps.chosen)
        derivatives = torch.autograd.grad(loss, sides, retain_graph=True, allow_unused=True)
        if any(each is None for each in derivatives):
            raise UnsupportedObjectiveError("This mitigation treats whole responses, and the loss does not.")
        d_w, d_l = (
            sign * pairs * each.detach().double().cpu() for sign, each in zip((-1, 1), derivatives, strict=True)
        )
        before, geometry = PairCoefficients(d_w, d_l), gram()
        mitigated = self._mitigation.apply(before, geometry, self.state)
        self.state, self._metrics = mitigated.state, mitigation_metrics(mitigated, before, geometry)
        chosen, rejected = mitigated.coefficients.chosen.to(loss), mitigated.coefficients.rejected.to(loss)
        replacement = (rejected * sides[1] - chosen * sides[0]).sum() / pairs
        return loss.detach() + (replacement - replacement.detach())


def capture_obstacle(trainer: ObjectiveTrainerLike, batch: PairBatch) -> str | None:
    """Check whether the backward pass of a model accounts for all of its parameters.

    Args:
        trainer: a `PreferenceTrainer`.
        batch: pairs to try it on.

    Returns:
        Why per-response gradients cannot be captured, or None where they can.
    """
    try:
        with trainer.compute_loss_context_manager():
            pair_gram(unwrapped_model(trainer), partial(trainer.own_pass, batch), dropout=True)
    except (UnsupportedModelError, AuditError) as error:
        return str(error)
    return None


def micro_batch_gram(trainer: ObjectiveTrainerLike, batch: PairBatch) -> BatchGram:
    """Compute the Gram of a micro-batch in a separate pass; by brute force where nothing else is exact.

    Args:
        trainer: a `PreferenceTrainer`.
        batch: the pairs.

    Returns:
        The Gram, squared nats per squared parameter unit.
    """
    model = unwrapped_model(trainer)
    try:
        return batch_gram(model, partial(trainer.own_pass, batch), dropout=True)
    except (UnsupportedModelError, AuditError):
        return brute_force_batch_gram(model, lambda: response_logps(model, batch))
