"""Split updates in training: several passes per step, and one gradient for the optimizer."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from preflens.errors import InputError, UnsupportedObjectiveError
from preflens.gram.training_step.weighting import squared_norm
from preflens.language_models.batch import PairBatch
from preflens.mitigations import Splitting
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.training.mitigation.splitting_gradients import add_to_first_moment, sequential, virtual_points
from preflens.training.mitigation.state import MitigationState
from preflens.training.mitigation.strategy import Strategy, StrategyContext, TrainingStep
from preflens.training.trainer_protocol import learning_rate_of, optimizer_of
from preflens.types import Side


class SplitUpdates(TrainerCallback):
    """Forms the gradient of each step from gradients of the two sides, taken at different points.

    Args:
        mitigation: how the two are combined.
        context: where it works.

    Attributes:
        needs_response_rows: false.
        capture: None.
        side: the side that is being differentiated, or None.
        repeats: whether the pass in progress repeats one of the same step, which was logged already.

    Raises:
        InputError: the run accumulates gradients or has several processes.
    """

    needs_response_rows = False
    capture = None

    def __init__(self, mitigation: Splitting, context: StrategyContext) -> None:
        trainer = context.trainer
        self._trainer, self._mitigation = trainer, mitigation
        self._excess: Mapping[nn.Parameter, Tensor] = {}
        self._gradient_norm = 0.0
        # A separate generator, so that the run draws the same numbers as without the mitigation.
        self._order = torch.Generator().manual_seed(trainer.args.seed)
        self._first_pass_is_over = False
        self.side: Side | None = None
        if trainer.args.gradient_accumulation_steps > 1 or trainer.accelerator.num_processes > 1:
            raise InputError("Mitigation `splitting` takes whole updates: one process and no accumulation.")

    @property
    def state(self) -> Tensor:
        """The state of the generator that draws which side comes first."""
        return self._order.get_state()

    @property
    def repeats(self) -> bool:
        """Whether the pass in progress repeats one of the same step, which was logged already."""
        return self._first_pass_is_over and self.side is not None

    def prepare(self, batch: PairBatch) -> Strategy:  # noqa: ARG002  # the interface
        """Return this strategy, which works for every model."""
        return self

    def restore(self, state: MitigationState) -> None:
        """Continue with a saved state of the generator."""
        if isinstance(state, Tensor):
            self._order.set_state(state)

    def run(self, step: TrainingStep) -> tuple[Tensor, Mapping[str, float]]:
        """Run the passes of a step and leave one gradient for the optimizer.

        Args:
            step: TRL's training step, which calls `loss`.

        Returns:
            The loss, and no metrics.
        """
        parameters = [p for p in self._trainer.model.parameters() if p.requires_grad]
        self._first_pass_is_over = False

        def differentiate(side: Side) -> Tensor:
            self.side = side
            try:
                return step()
            finally:
                self.side, self._first_pass_is_over = None, True

        reach = learning_rate_of(self._trainer) * self._mitigation.reach
        if self._mitigation.kind == "sequential":
            first: Side = "chosen" if float(torch.rand((), generator=self._order)) < 0.5 else "rejected"
            gradients, loss = sequential(parameters, differentiate, first=first, reach=reach)
        else:
            staged, direct, loss = virtual_points(parameters, differentiate, reach=reach)
            is_sgd = isinstance(optimizer_of(self._trainer.optimizer), torch.optim.SGD)
            gradients = staged if is_sgd else direct
            if not is_sgd:
                # Where the plain gradient is exactly zero (as for A of a fresh adapter, whose B is 0) the second moment
                # has no scale for the staged one, and the step would be as large as 1/ε.
                self._excess = {
                    p: torch.where(d == 0, 0, s - d) for p, s, d in zip(parameters, staged, direct, strict=True)
                }
                self._gradient_norm = math.sqrt(squared_norm(direct))
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient
        return loss / 2, {}

    def loss(self, objective: Objective, logps: PairLogps, batch: PairBatch) -> Tensor:  # noqa: ARG002  # the interface
        """Return the loss of one side.

        Args:
            objective: of this step.
            logps: log-probs of the micro-batch, with their graph.
            batch: its pairs.

        Returns:
            A loss with the objective's value whose gradient is g₊, or g₋: that of Σ d a/n with d held fixed.

        Raises:
            UnsupportedObjectiveError: the loss depends on single tokens.
        """
        loss, sides = objective.loss(logps).mean(), (logps.chosen, logps.rejected)
        derivatives = torch.autograd.grad(loss, sides, retain_graph=True, allow_unused=True)
        if any(each is None for each in derivatives):
            raise UnsupportedObjectiveError("This mitigation treats whole responses, and the loss does not.")
        # g₊ = ∂L/∂a_w · ∇a_w, and g₋ = −∂L/∂a_l · ∇a_l
        number, sign = (0, 1.0) if self.side == "chosen" else (1, -1.0)
        one_side = sign * (derivatives[number].detach() * sides[number]).sum()
        return loss.detach() + (one_side - one_side.detach())

    def on_pre_optimizer_step(self, *_: object, **__: object) -> None:
        """Add the staged part to Adam's first moment, scaled as the gradients were if they were clipped."""
        if not self._excess:
            return
        parameters = list(self._excess)
        norm = math.sqrt(squared_norm([p.grad for p in parameters if p.grad is not None]))
        scale = norm / self._gradient_norm if self._gradient_norm else 1.0
        excess = {p: scale * e for p, e in self._excess.items()}
        add_to_first_moment(self._trainer.optimizer, parameters, excess)
        self._excess = {}
