"""The pairs that a rollout and its real steps follow."""

from dataclasses import dataclass

from preflens.analysis.measurement.forward_passes import MicroBatches
from preflens.analysis.measurement.geometry import BatchGeometry


@dataclass(frozen=True)
class RolloutPairs:
    """The pairs that a rollout follows, and one Gram of all of them.

    Attributes:
        geometry: log-probs and Gram: the training pairs, update batch after update batch, then the held-out pairs.
        batches: positions of the pairs of each update batch.
        training: number of training pairs.
    """

    geometry: BatchGeometry
    batches: tuple[tuple[int, ...], ...]
    training: int


@dataclass(frozen=True)
class RolloutSetup:
    """The pairs of a rollout, ready for real steps.

    Attributes:
        followed: the pairs and their geometry.
        batches: forward passes of the update batches among them, in the same order.
        held_out: forward passes of the held-out pairs among them, in the same order.
        in_order: positions that put the held-out pairs into the order of the data.
    """

    followed: RolloutPairs
    batches: tuple[MicroBatches, ...]
    held_out: MicroBatches
    in_order: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of training pairs and of held-out pairs that are followed."""
        return self.followed.training, self.followed.geometry.gram.pairs - self.followed.training
