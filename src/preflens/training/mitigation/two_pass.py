"""Mitigated losses for models and runs whose backward pass cannot be kept books of.

The geometry comes from a pass of its own, and an ordinary backward pass follows with the changed coefficients: exact,
at the price of the extra pass. Autograd, and whatever listens to it (gradients averaged over processes), sees a plain
loss.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from preflens.errors import AuditError, UnsupportedModelError, UnsupportedObjectiveError
from preflens.gram import batch_gram, brute_force_batch_gram, pair_gram
from preflens.language_models.batch import PairBatch
from preflens.language_models.logps import response_logps
from preflens.mitigations import CoefficientMap, MovingAverages
from preflens.pair_logps import PairLogps
from preflens.training.mitigation.one_pass import mitigation_report
from preflens.training.trainer_protocol import ObjectiveTrainerLike, unwrapped_model
from preflens.types import BatchGram, PairCoefficients


class TwoPassReweighting:
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
        self.state, self.metrics = found.state, mitigation_report(found, before, geometry)
        after = found.coefficients.chosen.to(loss), found.coefficients.rejected.to(loss)
        stand_in = (after[1] * sides[1] - after[0] * sides[0]).sum() / pairs
        return loss.detach() + (stand_in - stand_in.detach())


def why_no_books(trainer: ObjectiveTrainerLike, batch: PairBatch) -> str | None:
    """Tell whether a model's backward pass accounts for all of its parameters.

    Args:
        trainer: a `PreferenceTrainer`.
        batch: of its pairs.

    Returns:
        Why books cannot be kept, or None.
    """
    model = unwrapped_model(trainer)
    try:
        with trainer.compute_loss_context_manager():
            pair_gram(model, partial(trainer.own_pass, batch), dropout=True)
    except (UnsupportedModelError, AuditError) as error:
        return str(error)
    return None


def geometry_of(trainer: ObjectiveTrainerLike, batch: PairBatch) -> BatchGram:
    """Take the geometry of a micro-batch in a pass of its own; by brute force where nothing else is exact.

    Args:
        trainer: a `PreferenceTrainer`.
        batch: the pairs.

    Returns:
        The Gram.
    """
    model = unwrapped_model(trainer)
    try:
        return batch_gram(model, partial(trainer.own_pass, batch), dropout=True)
    except (UnsupportedModelError, AuditError):
        return brute_force_batch_gram(model, lambda: response_logps(model, batch))
