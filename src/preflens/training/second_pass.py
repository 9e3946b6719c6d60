"""Mitigated losses for models and runs whose backward pass cannot be kept books of.

The geometry comes from a pass of its own, and an ordinary backward pass follows with the changed coefficients: exact,
at the price of the extra pass. Autograd, and whatever listens to it (gradients averaged over processes), sees a plain
loss.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from preflens.errors import UnsupportedObjectiveError
from preflens.log_probs import PairLogps
from preflens.mitigations import CoefficientMap, MovingAverages
from preflens.training.mitigated import report
from preflens.types import BatchGram, PairCoefficients


class SecondPass:
    """Replaces losses by others that have the changed coefficients.

    Args:
        mitigation: changes them.

    Attributes:
        state: what the mitigation remembers.
        metrics: of the last micro-batch.
    """

    def __init__(self, mitigation: CoefficientMap) -> None:
        self._mitigation = mitigation
        self.state: MovingAverages | None = None
        self.metrics: Mapping[str, float] = {}

    def mitigated(self, loss: Tensor, logps: PairLogps, gram: Callable[[], BatchGram]) -> Tensor:
        """Give a loss other derivatives.

        Args:
            loss: mean over the pairs of a micro-batch.
            logps: it depends on these alone.
            gram: geometry of the pairs, at the price of a pass.

        Returns:
            A loss of the same value whose derivatives are −d_w'/n and d_l'/n.

        Raises:
            UnsupportedObjectiveError: the loss depends on single tokens.
        """
        sides, pairs = (logps.chosen, logps.rejected), len(logps.chosen)
        sent = torch.autograd.grad(loss, sides, retain_graph=True, allow_unused=True)
        if any(s is None for s in sent):
            raise UnsupportedObjectiveError("This mitigation is about whole responses, and the loss is not.")
        d_w, d_l = (sign * pairs * s.detach().double().cpu() for sign, s in zip((-1, 1), sent, strict=True))
        before, geometry = PairCoefficients(d_w, d_l), gram()
        found = self._mitigation.apply(before, geometry, self.state)
        self.state, self.metrics = found.state, report(found, before, geometry)
        after = found.coefficients.chosen.to(loss), found.coefficients.rejected.to(loss)
        stand_in = (after[1] * sides[1] - after[0] * sides[0]).sum() / pairs
        return loss.detach() + (stand_in - stand_in.detach())
