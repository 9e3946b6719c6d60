"""Model passes of a comparison. Every finished part is kept, so that an interrupted run can continue."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.comparison.held_out import directions_that_fit, mean_gradients, products_along
from preflens.analysis.comparison.per_pair import per_pair_changes
from preflens.analysis.comparison.rollout_pairs import RolloutPairs, RolloutSetup
from preflens.analysis.measurement.checkpoint import Checkpoint, measure_batches
from preflens.analysis.measurement.forward_passes import MicroBatches, PassLimit, PolicyScorer, make_passes
from preflens.analysis.measurement.geometry import BatchGeometry, batch_geometry
from preflens.analysis.measurement.progress import progress_bar
from preflens.analysis.measurement.real_steps import PlainUpdate
from preflens.analysis.measurement.sealed_arrays import digest
from preflens.analysis.measurement.update_batches import longest_first, sampling_order
from preflens.language_models.model import Reference
from preflens.language_models.tokenizing import TokenizedPair
from preflens.records.json_codec import to_json

Batches = Sequence[Sequence[TokenizedPair]]
T = TypeVar("T")

# Scores of a position: kept by autograd, normalised, differentiated.
_SCORE_BYTES = 12


@dataclass(frozen=True)
class ModelQueries:
    """Passes of the model over the pairs of a comparison.

    Attributes:
        scorer: the policy.
        limit: size of a forward pass.
        reference: where reference log-probs come from.
        memory: bytes that may be kept from pass to pass.
        checkpoint: where finished parts are kept.
        progress: show progress bars.
    """

    scorer: PolicyScorer
    limit: PassLimit
    reference: Reference
    memory: float
    checkpoint: Checkpoint
    progress: bool

    def passes(self, pairs: Sequence[TokenizedPair]) -> MicroBatches:
        """Cut pairs into forward passes.

        Args:
            pairs: in order.

        Returns:
            The passes.
        """
        return make_passes(self.scorer, pairs, self.limit)

    def scored_passes(self, pairs: Sequence[TokenizedPair]) -> MicroBatches:
        """Cut pairs into forward passes whose scores are differentiated all at once, with a graph.

        Args:
            pairs: in order.

        Returns:
            The passes.
        """
        head, tokens = self.scorer.head, self.limit.tokens
        if head is None or tokens is None:
            return self.passes(pairs)
        fit = int(self.memory / (_SCORE_BYTES * len(head.linear.weight)))
        return make_passes(self.scorer, pairs, replace(self.limit, tokens=min(tokens, fit)))

    def geometry(self, batches: Batches) -> list[BatchGeometry]:
        """Measure log-probs and Gram of every update batch.

        Args:
            batches: the pairs of each.

        Returns:
            One entry a batch.
        """
        measure = partial(batch_geometry, reference=self.reference, memory=self.memory)
        positions, pairs = _numbered(batches)
        return measure_batches(
            positions, lambda batch: self.passes([pairs[i] for i in batch]), measure, self.checkpoint,
            progress=self.progress,
        )  # fmt: skip

    def products(self, batches: Batches, held_out: Sequence[TokenizedPair]) -> Float64[Tensor, "two side pair"]:
        """Compute the inner products of all training gradients with the gradients of the held-out mean log-probs.

        Args:
            batches: the training pairs of each update batch.
            held_out: the held-out pairs.

        Returns:
            ⟨g_i, V⟩ with V the gradients of the mean chosen and of the mean rejected log-prob.
        """
        means: list[PlainUpdate] = []
        directions_that_fit(self.passes(held_out[:1]), memory=self.memory)

        def compute(batch: Sequence[TokenizedPair]) -> Float64[Tensor, "two side pair"]:
            if not means:
                (order,) = longest_first([range(len(held_out))], held_out)
                means.extend(mean_gradients(self.scored_passes([held_out[i] for i in order])))
            return products_along(self.passes(batch), means)

        products = []
        with progress_bar("Held-out means", total=sum(map(len, batches)), shown=self.progress) as advance:
            for number, batch in enumerate(batches):
                shape = (2, 2, len(batch))
                products.append(self.checkpoint.values(f"products-{number:06}", shape, partial(compute, batch)))
                advance(len(batch))
        return torch.cat(products, dim=2)

    def rollout_setup(
        self, batches: Batches, held_out: Sequence[TokenizedPair], *, pairs: int, seed: int
    ) -> RolloutSetup:
        """Measure one Gram of the first update batches and of a sample of the held-out pairs.

        Args:
            batches: the training pairs of each update batch.
            held_out: the held-out pairs.
            pairs: training pairs to follow, in whole update batches (at least one), and likewise held-out pairs.
            seed: of the sample of held-out pairs.

        Returns:
            The pairs of the rollout and of its real steps.
        """
        first_batches = batches[: max(1, pairs // max(map(len, batches)))]
        (sample,) = longest_first([sampling_order(len(held_out), seed=seed)[:pairs]], held_out)
        sampled_pairs = [held_out[i] for i in sample]
        positions, training = _numbered(first_batches)
        count = len(training) + len(sampled_pairs)

        def measure() -> BatchGeometry:
            with progress_bar("Pairs to follow", total=count, shown=self.progress) as advance:
                geometry = batch_geometry(self.passes([*training, *sampled_pairs]), self.reference, memory=self.memory)
                advance(count)
            return geometry

        name = f"followed-{digest(to_json([len(training), sample]).encode())}"
        geometry = self.checkpoint.geometry(name, count, measure)
        followed = RolloutPairs(geometry, tuple(tuple(p) for p in positions), len(training))
        in_order = tuple(sorted(range(len(sample)), key=sample.__getitem__))
        return RolloutSetup(
            followed, tuple(self.passes(batch) for batch in first_batches), self.passes(sampled_pairs), in_order
        )

    def per_pair(
        self, batches: Batches, held_out: Sequence[TokenizedPair], signed: Float64[Tensor, "objective two pair"]
    ) -> Float64[Tensor, "objective two held_out"]:
        """Predict the change of every held-out pair.

        Args:
            batches: the training pairs of each update batch.
            held_out: the held-out pairs.
            signed: c of each objective.

        Returns:
            Changes at learning rate 1, held-out pairs in their order.
        """
        fit = directions_that_fit(self.passes(held_out[:1]), memory=self.memory)
        (order,) = longest_first([range(len(held_out))], held_out)

        def compute() -> Float64[Tensor, "objective two held_out"]:
            passes = self.scored_passes([held_out[i] for i in order])
            changes = per_pair_changes([self.scored_passes(batch) for batch in batches], passes, signed, fit=fit)
            return changes[:, :, torch.tensor(order).argsort()]

        name = f"per-pair-{digest(signed.numpy().tobytes())}"
        return self.checkpoint.values(name, (len(signed), 2, len(held_out)), compute)

    def kept_record(self, kind: type[T], make: Callable[[], T], *parts: object) -> T:
        """Make a record, or return the one that an interrupted run has made.

        Args:
            kind: of record.
            make: makes it.
            *parts: records and values it depends on.

        Returns:
            The record.
        """
        return self.checkpoint.record(kind, make, *parts)


def _numbered(batches: Batches) -> tuple[list[list[int]], list[TokenizedPair]]:
    """Positions of each batch's pairs when the batches follow each other, and the pairs in that order."""
    positions = torch.arange(sum(map(len, batches))).split([len(batch) for batch in batches])
    return [part.tolist() for part in positions], [pair for batch in batches for pair in batch]
