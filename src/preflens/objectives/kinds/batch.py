"""Objectives that couple the pairs of an update batch: sorting, batch means, a mean over all tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from preflens.objectives.kinds.base import Citation, Kind
from preflens.objectives.kinds.coefficients import AutodiffObjective, checked, pair_coefficients
from preflens.pair_logps import PairLogps, PerPair
from preflens.types import PairCoefficients


def at_rank_of(values: PerPair, others: PerPair) -> PerPair:
    """Return for each value the one of the others that has the same rank.

    Args:
        values: whose ranks count.
        others: as many; where gradients arrive.

    Returns:
        The others in the order in which the values' ranks ask for them.
    """
    rank = values.detach().argsort(stable=True).argsort()
    result: PerPair = others.sort(stable=True).values[rank]
    return result


@dataclass(frozen=True)
class BatchObjective(AutodiffObjective):
    """A loss in which other pairs of the update batch enter.

    `loss` gives a number for each pair whose mean over the batch is the loss that is minimised. The coefficients are N
    times the derivative of that mean, so that a plain step is (η/N) Σ_i c_i ∇a_i as for every other objective. They
    hold for this batch only: call with all pairs that share the update.

    Attributes:
        name: the name in the table.
        of_batch: the loss of each pair, from the whole batch.
        source: the paper.
        parameters: the values the objective was made with.
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
            logps: log-probs in nats, with what the objective needs beside them.

        Returns:
            The loss, no unit.
        """
        return checked(self.name, self.of_batch(logps), logps)

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return N times −∂/∂a_w and +∂/∂a_l of the mean loss of the N pairs, by automatic differentiation.

        Args:
            logps: log-probs in nats; all pairs of the update batch.

        Returns:
            The coefficients with which a gradient step climbs and descends. They may be negative.
        """
        return pair_coefficients(self.name, self.loss, logps)
