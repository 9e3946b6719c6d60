"""Objectives that couple the pairs of an update batch, by sorting, batch means or a mean over all tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from preflens.objectives.kinds.base import Citation, Kind
from preflens.objectives.kinds.coefficients import AutodiffObjective, checked, pair_coefficients
from preflens.pair_logps import PairLogps, PerPair
from preflens.types import PairCoefficients


def at_rank_of(values: PerPair, others: PerPair) -> PerPair:
    """Return, for each value, the element of `others` with the same rank.

    Args:
        values: they determine the ranks; no gradient.
        others: of the same length; differentiable.

    Returns:
        `others`, ordered by the ranks of `values`.
    """
    rank = values.detach().argsort(stable=True).argsort()
    result: PerPair = others.sort(stable=True).values[rank]
    return result


@dataclass(frozen=True)
class BatchObjective(AutodiffObjective):
    """A loss that depends on the other pairs of the update batch.

    `loss` returns one number per pair; their mean over the batch is minimized. The coefficients are N times the
    derivative of that mean, so that a plain step is (η/N) Σ_i c_i ∇a_i as for every other objective. They are valid for
    this batch only. Call with all pairs that share the update.

    Attributes:
        name: the name in the table of objectives.
        of_batch: the loss of each pair as a function of the whole batch.
        source: the paper.
        parameters: hyperparameters, by name.

    Example:
        The squared mean margin of the batch. The margins are 1 and 3, so d_w = −2·2 for each of the N = 2 pairs.

        >>> import torch
        >>> from preflens.objectives import BatchObjective, Citation
        >>> from preflens.pair_logps import PairLogps
        >>> source = Citation("An example", "Nobody", 2026, "", "no equation")
        >>> def of_batch(logps):
        ...     return ((logps.chosen - logps.rejected).mean() ** 2).expand(len(logps.chosen))
        >>> squared = BatchObjective("squared_mean", of_batch, source)
        >>> squared.coefficients(PairLogps(torch.tensor([-1.0, -1.0]), torch.tensor([-2.0, -4.0]))).chosen.tolist()
        [-4.0, -4.0]
    """

    name: str
    of_batch: Callable[[PairLogps], PerPair]
    source: Citation
    parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Always `batch`."""
        return "batch"

    def loss(self, logps: PairLogps) -> PerPair:
        """Return losses whose mean is the loss of the update batch. Differentiable in the log-probs.

        Args:
            logps: log-probs in nats, with the other inputs of the objective.

        Returns:
            The loss, no unit.
        """
        return checked(self.name, self.of_batch(logps), logps)

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return N times −∂/∂a_w and +∂/∂a_l of the mean loss of the N pairs, by automatic differentiation.

        Args:
            logps: log-probs in nats; all pairs of the update batch.

        Returns:
            The coefficients of g_w and −g_l in a gradient step. They may be negative.
        """
        return pair_coefficients(self.name, self.loss, logps)
