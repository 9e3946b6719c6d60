"""What one step of each objective does to held-out pairs: means of chosen, rejected and margin, with intervals.

For plain steps of losses that are sums over pairs, the mean over update batches is a mean over training pairs, whatever
the batch size, and training prompts are what is sampled. An optimizer that is not linear, or a loss that couples the
pairs of a batch, makes it a mean over update batches of this size, and these are what is sampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.summaries.two_way import Crossed, crossed, means, ratios_of_means
from preflens.records.common import Estimate

CHOSEN, REJECTED, MARGIN = range(3)


@dataclass(frozen=True, kw_only=True)
class HeldOutStep:
    """One step of an objective, as it changes held-out log-probs, nats.

    Attributes:
        contributions: to the mean change of chosen and rejected log-probs and of their margin, by unit.
        by_batch: whether training units are update batches; else they are prompts.
    """

    contributions: Crossed
    by_batch: bool

    @property
    def estimates(self) -> tuple[Estimate, Estimate, Estimate]:
        """Mean change of chosen log-prob, of rejected log-prob, and of the margin, with 95 % intervals."""
        chosen, rejected, margin = means(self.contributions)
        return chosen, rejected, margin

    @property
    def per_margin(self) -> tuple[Estimate, Estimate]:
        """Mean change of chosen and of rejected log-prob per nat of margin."""
        sums = self.contributions.sums
        above = self._with(sums[[CHOSEN, REJECTED]])
        chosen, rejected = ratios_of_means(above, self._with(sums[[MARGIN, MARGIN]]))
        return chosen, rejected

    def _with(self, sums: np.ndarray) -> Crossed:
        return Crossed(sums=sums, training=self.contributions.training, held_out=self.contributions.held_out)


def step_of_pairs(
    signed: Float64[Tensor, "two pair"],
    plain: Float64[Tensor, "two pair two held_out"],
    *,
    learning_rate: float,
    prompts: Sequence[int],
    held_out_prompts: Sequence[int],
) -> HeldOutStep:
    """Predict plain steps of a loss that is a mean over pairs.

    Args:
        signed: (d_w, −d_l) of every training pair.
        plain: inner products of training responses (side, pair) with held-out ones (side, pair).
        learning_rate: η.
        prompts: number of each training pair's prompt.
        held_out_prompts: likewise of held-out pairs.

    Returns:
        The mean step on one training pair.
    """
    changes = learning_rate * torch.einsum("sp,spth->tph", signed, plain)
    return _step(changes, np.asarray(prompts), held_out_prompts, by_batch=False)


def step_of_batches(changes: Float64[Tensor, "batch two held_out"], *, held_out_prompts: Sequence[int]) -> HeldOutStep:
    """Average steps on update batches.

    Args:
        changes: of each held-out pair's chosen and rejected log-prob, in the step of each update batch.
        held_out_prompts: number of each held-out pair's prompt.

    Returns:
        The mean step on one update batch.
    """
    return _step(changes.transpose(0, 1), np.arange(len(changes)), held_out_prompts, by_batch=True)


def _step(
    changes: Float64[Tensor, "two unit held_out"], units: np.ndarray, held_out_prompts: Sequence[int], *, by_batch: bool
) -> HeldOutStep:
    chosen, rejected = changes
    values = torch.stack([chosen, rejected, chosen - rejected]).numpy()
    return HeldOutStep(contributions=crossed(values, units, np.asarray(held_out_prompts)), by_batch=by_batch)
