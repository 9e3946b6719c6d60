"""Split updates inside a trainer: stages of a step, and what its optimizer is told."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from preflens.errors import InputError, UnsupportedObjectiveError
from preflens.gram.training_step.weighting import squared_norm
from preflens.mitigations import Splitting
from preflens.pair_logps import PairLogps
from preflens.training.mitigation.splitting_gradients import into_first_moment, sequential, virtual_points
from preflens.training.trainer_protocol import ObjectiveTrainerLike, learning_rate_of, optimizer_of
from preflens.types import Side


class SplitSteps(TrainerCallback):
    """Makes the gradients of a run's steps from gradients of the two sides.

    Args:
        trainer: a `PreferenceTrainer`.
        mitigation: says how.

    Attributes:
        coin: decides which side comes first.
        side: the one that is being differentiated, or None.
        again: whether the pass under way repeats one that was logged.
    """

    def __init__(self, trainer: ObjectiveTrainerLike, mitigation: Splitting) -> None:
        self._trainer, self._mitigation = trainer, mitigation
        self._excess: Mapping[nn.Parameter, Tensor] = {}
        self._size = 0.0
        self.coin = torch.Generator().manual_seed(trainer.args.seed)  # of its own: the run draws as without us
        self.side: Side | None = None
        self.again = False
        if trainer.args.gradient_accumulation_steps > 1 or trainer.accelerator.num_processes > 1:
            raise InputError("Mitigation `splitting` takes whole updates: one process and no accumulation.")

    def run(self, plain: Callable[[], Tensor]) -> Tensor:
        """Run a step's passes and leave one gradient for the optimizer.

        Args:
            plain: TRL's training step, which asks `loss` for its loss.

        Returns:
            The loss.
        """
        parameters = [p for p in self._trainer.model.parameters() if p.requires_grad]
        rate = learning_rate_of(self._trainer)
        self.again = False

        def differentiate(side: Side) -> Tensor:
            self.side = side
            try:
                return plain()
            finally:
                self.side, self.again = None, True

        reach = rate * self._mitigation.reach
        if self._mitigation.kind == "sequential":
            first: Side = "chosen" if float(torch.rand((), generator=self.coin)) < 0.5 else "rejected"
            found, loss = sequential(parameters, differentiate, first=first, reach=reach)
        else:
            staged, direct, loss = virtual_points(parameters, differentiate, reach=reach)
            plain_steps = isinstance(optimizer_of(self._trainer.optimizer), torch.optim.SGD)
            found = staged if plain_steps else direct
            if not plain_steps:
                # Where the plain gradient is exactly zero (as for A of a fresh adapter, whose B is 0) the second moment
                # has no scale for the staged one, and the step would be as large as 1/ε.
                self._excess = {
                    p: torch.where(d == 0, 0, s - d) for p, s, d in zip(parameters, staged, direct, strict=True)
                }
                self._size = math.sqrt(squared_norm(direct))
        for p, gradient in zip(parameters, found, strict=True):
            p.grad = gradient
        return loss / 2

    def loss(self, loss: Tensor, logps: PairLogps) -> Tensor:
        """Keep one side of a loss.

        Args:
            loss: mean over the pairs.
            logps: it depends on these alone.

        Returns:
            A loss of the same value whose gradient is g₊, or g₋: that of Σ d a/n, and never of the coefficients.

        Raises:
            UnsupportedObjectiveError: the loss depends on single tokens.
        """
        sides = (logps.chosen, logps.rejected)
        sent = torch.autograd.grad(loss, sides, retain_graph=True, allow_unused=True)
        if any(s is None for s in sent):
            raise UnsupportedObjectiveError("This mitigation is about whole responses, and the loss is not.")
        # g₊ = ∂L/∂a_w · ∇a_w, and g₋ = −∂L/∂a_l · ∇a_l
        number, sign = (0, 1.0) if self.side == "chosen" else (1, -1.0)
        part = sign * (sent[number].detach() * sides[number]).sum()
        return loss.detach() + (part - part.detach())

    def on_pre_optimizer_step(self, *_: object, **__: object) -> None:
        """Tell Adam's first moment; gradients may have been clipped meanwhile."""
        if not self._excess:
            return
        parameters = list(self._excess)
        now = math.sqrt(squared_norm([p.grad for p in parameters if p.grad is not None]))
        clipped = now / self._size if self._size else 1.0
        excess = {p: clipped * e for p, e in self._excess.items()}
        into_first_moment(self._trainer.optimizer, parameters, excess)
        self._excess = {}
