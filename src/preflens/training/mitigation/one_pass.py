"""Steps with mitigated coefficients, in one forward and one backward pass.

The loss gives the coefficient of each response, and the backward pass gives each response's gradient. The mitigation
maps coefficients and Gram to new coefficients, and the gradient of the step is the sum of response gradients weighted
by them. Every step checks itself: the squared norm of that sum has to agree with the Gram.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.errors import UnsupportedObjectiveError
from preflens.gram.training_step.deferred import DeferredGradients, defer_weighting
from preflens.gram.training_step.weighting import (
    accumulated_gram,
    add_to_grad,
    check_norm,
    parameter_gram,
    parameter_groups,
    squared_norm,
    weighted_gradients,
)
from preflens.language_models.batch import PairBatch
from preflens.mitigations import CoefficientMap, MovingAverages
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.response_order import chosen_first
from preflens.training.mitigation.report import mitigation_metrics
from preflens.training.mitigation.state import MitigationState
from preflens.training.mitigation.strategy import Strategy, StrategyContext, TrainingStep
from preflens.training.mitigation.two_pass import TwoPassReweighting, capture_obstacle
from preflens.training.trainer_protocol import micro_batches_of_update, unwrapped_model
from preflens.types import BatchGram, PairCoefficients, PairGram


def reweighting(mitigation: CoefficientMap, context: StrategyContext) -> Strategy:
    """Return the strategy for a map of coefficients: one pass, or two where several processes train together."""
    if context.trainer.accelerator.num_processes > 1:
        return TwoPassReweighting.instead_of_one(mitigation, context, why="several processes train together")
    return OnePassReweighting(mitigation, context)


class OnePassReweighting:
    """Forms the gradient of each step from captured response gradients and mitigated coefficients.

    Args:
        mitigation: maps coefficients to coefficients.
        context: where it works. With `whole_update`, a map of scope `batch` treats all micro-batches of an update
            together, and the gradients of their responses are kept until the last one; otherwise each micro-batch is
            treated by itself. For maps of scope `pair` this makes no difference.

    Attributes:
        needs_response_rows: true.
        state: moving averages of the mitigation.
        capture: gradients of the micro-batch in progress, or None.
        repeats: false.
    """

    needs_response_rows = True
    repeats = False

    def __init__(self, mitigation: CoefficientMap, context: StrategyContext) -> None:
        self._mitigation, self._context = mitigation, context
        self._per_pair = mitigation.scope == "pair"
        self._whole_update = context.whole_update and not self._per_pair
        self._waiting: list[DeferredGradients] = []
        self._checked = 0
        self.state: MovingAverages | None = None
        self.capture: DeferredGradients | None = None

    def prepare(self, batch: PairBatch) -> Strategy:
        """Check that the engine accounts for every parameter of the model.

        Args:
            batch: pairs of the first micro-batch.

        Returns:
            This strategy, or the one of two passes.
        """
        why = capture_obstacle(self._context.trainer, batch)
        if why is None:
            return self
        return TwoPassReweighting.instead_of_one(self._mitigation, self._context, why=why, state=self.state)

    def restore(self, state: MitigationState) -> None:
        """Continue with saved moving averages."""
        if isinstance(state, MovingAverages):
            self.state = state

    def loss(self, objective: Objective, logps: PairLogps, batch: PairBatch) -> Tensor:  # noqa: ARG002  # the interface
        """Return the plain loss; its coefficients are changed after the backward pass."""
        if self.capture is not None:
            self.capture.keep_frozen()
        return objective.loss(logps).mean()

    def run(self, step: TrainingStep) -> tuple[Tensor, Mapping[str, float]]:
        """Run a micro-batch and add its mitigated gradient to `param.grad`.

        Args:
            step: one forward and one backward pass, which passes its head to `capture`.

        Returns:
            The loss, and metrics; no metrics before the last micro-batch of an update that is treated as a whole.

        Raises:
            UnsupportedObjectiveError: the loss weights the tokens of a response differently.
        """
        trainer = self._context.trainer
        model = unwrapped_model(trainer)
        with defer_weighting(model, pairs=self._per_pair) as captured:
            self.capture = captured
            try:
                loss = step()
            finally:
                self.capture = None
        if captured.coefficients is None:
            raise UnsupportedObjectiveError(
                "The loss weights the tokens of a response differently, and this mitigation treats whole responses. "
                "Choose another objective, or `sparse_mask`."
            )
        self._waiting.append(captured)
        if self._whole_update and not trainer.accelerator.sync_gradients:
            return loss, {}
        micro_batches, self._waiting = self._waiting, []
        pairs = sum(len(each.coefficients) for each in micro_batches if each.coefficients is not None) // 2
        if self._context.constraints is not None:
            micro_batches.append(self._context.constraints.gradients(model))
        share = pairs * (1 if self._whole_update else micro_batches_of_update(trainer))
        with torch.no_grad():
            return loss, self._weight(micro_batches, share=share, pairs=pairs)

    def _weight(self, captured: list[DeferredGradients], *, share: int, pairs: int) -> dict[str, float]:
        """Map the coefficients and form the gradient; the loss of the update is a mean over `share` pairs."""
        gram: PairGram | BatchGram = captured[0].pair_gram() if self._per_pair else accumulated_gram(captured)
        loss_gradient = torch.cat([each.coefficients for each in captured if each.coefficients is not None])
        order = chosen_first([each.responses for each in captured]).to(loss_gradient.device)
        # Constraint pairs, which come last, are not passed on.
        chosen, rejected = (side[:pairs] for side in (-share * loss_gradient[order]).cpu().chunk(2))
        before = PairCoefficients(chosen, -rejected)
        mitigated = self._mitigation.apply(before, gram, self.state)
        self.state = mitigated.state
        signed = mitigated.coefficients.signed().to(loss_gradient.device)
        weights = torch.empty_like(loss_gradient).index_copy(0, order, -signed / share)
        if isinstance(gram, BatchGram):
            self._write_checking_the_norm(captured, weights, order, gram)
        else:
            self._write_checking_one_parameter(captured, weights)
        return mitigation_metrics(mitigated, before, gram)

    def _write_checking_one_parameter(
        self, captured: list[DeferredGradients], weights: Float64[Tensor, " response"]
    ) -> None:
        """Products within pairs do not give the norm, so one parameter per step, in turn, is multiplied out."""
        checked = self._checked % len(parameter_groups(captured))
        self._checked += 1
        for number, (key, gradient) in enumerate(weighted_gradients(captured, weights)):
            if number == checked:
                check_norm(squared_norm(gradient), parameter_gram(captured, key), weights, self._dtype())
            add_to_grad(key, gradient)

    def _write_checking_the_norm(
        self, captured: list[DeferredGradients], weights: Float64[Tensor, " response"], order: Tensor, gram: BatchGram
    ) -> None:
        squared = 0.0
        for key, gradient in weighted_gradients(captured, weights):
            squared += squared_norm(gradient)
            add_to_grad(key, gradient)
        check_norm(squared, gram.matrix, weights[order].cpu(), self._dtype())

    def _dtype(self) -> torch.dtype:
        """The type of the activations, which bounds how well norm and Gram can agree."""
        trainer = self._context.trainer
        dtype: torch.dtype = unwrapped_model(trainer).dtype
        return torch.bfloat16 if trainer.args.bf16 or trainer.args.fp16 else dtype
