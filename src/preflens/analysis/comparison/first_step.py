"""One step of every objective from one pass of the model: each pair alone, update batches, held-out means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.measurement.geometry import BatchGeometry
from preflens.mitigations import CoefficientMap, as_rollout_transform
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.types import BatchGram, PairCoefficients, PairGram

_SIGNS = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)  # a step climbs the chosen side and descends the rejected


@dataclass(frozen=True)
class Training:
    """The training pairs, update batch after update batch.

    Attributes:
        logps: log-probs of all pairs.
        gram: Gram of each pair.
        batches: Gram of each update batch.
        sizes: pairs of each update batch.
    """

    logps: PairLogps
    gram: PairGram
    batches: tuple[BatchGram, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class FirstSteps:
    """One plain step of every objective at learning rate 1, pairs in the order of `Training`.

    Attributes:
        coefficients: d_w and d_l.
        shared: change of the training log-probs when each update batch steps on its mean loss.
        influence: contribution of each pair to the change of the held-out mean chosen and mean rejected log-prob, in a
            step on the mean loss of all training pairs.
    """

    coefficients: Float64[Tensor, "objective two pair"]
    shared: Float64[Tensor, "objective two pair"]
    influence: Float64[Tensor, "objective two pair"]

    @property
    def signed(self) -> Float64[Tensor, "objective two pair"]:
        """The coefficients with which a step climbs each gradient: c = (d_w, −d_l)."""
        return self.coefficients * _SIGNS


def stack_batches(geometries: Sequence[BatchGeometry]) -> Training:
    """Concatenate the update batches.

    Args:
        geometries: geometry of every update batch.

    Returns:
        All pairs, update batch after update batch.
    """
    values = {f.name: [getattr(g.logps, f.name) for g in geometries] for f in fields(PairLogps)}
    logps = PairLogps(**{name: torch.cat(parts) for name, parts in values.items() if parts[0] is not None})
    gram = PairGram.concatenate([g.gram.pair_gram() for g in geometries])
    return Training(logps, gram, tuple(g.gram for g in geometries), tuple(g.gram.pairs for g in geometries))


def first_steps(
    objectives: Mapping[str, Objective],
    training: Training,
    products: Float64[Tensor, "two side pair"],
    mitigations: Mapping[str, CoefficientMap],
) -> FirstSteps:
    """Predict one step of every objective. The objectives only contribute coefficients.

    Args:
        objectives: by label.
        training: the pairs.
        products: ⟨g_i, V⟩ of the chosen and rejected training responses, with V the gradients of the held-out mean
            chosen and mean rejected log-prob.
        mitigations: by the labels of the objectives whose coefficients pass through one.

    Returns:
        Coefficients and changes.
    """
    parts = [coefficients_of(o, training, mitigations.get(label)) for label, o in objectives.items()]
    coefficients = torch.stack([torch.stack([c.chosen, c.rejected]) for c in parts])
    signed = coefficients * _SIGNS
    shared = [
        (c.flatten(1) @ gram.matrix / gram.pairs).reshape(c.shape)
        for c, gram in zip(signed.split(training.sizes, dim=2), training.batches, strict=True)
    ]
    influence = torch.einsum("ksp,vsp->kvp", signed, products) / signed.shape[2]
    return FirstSteps(coefficients, torch.cat(shared, dim=2), influence)


def coefficients_of(
    objective: Objective, training: Training, mitigation: CoefficientMap | None = None
) -> PairCoefficients:
    """Compute an objective's coefficients, per update batch if its loss or a mitigation couples pairs.

    Args:
        objective: the loss.
        training: the pairs.
        mitigation: map that the coefficients pass through, with its state from one update batch to the next.

    Returns:
        d_w and d_l of all pairs.
    """
    if objective.kind != "batch" and mitigation is None:
        return objective.coefficients(training.logps)
    batches = torch.arange(sum(training.sizes)).split(training.sizes)
    parts = [objective.coefficients(training.logps.take(indices)) for indices in batches]
    if mitigation is not None:
        transform = as_rollout_transform(mitigation)
        parts = [transform(part, gram.total()) for part, gram in zip(parts, training.batches, strict=True)]
    return PairCoefficients(torch.cat([p.chosen for p in parts]), torch.cat([p.rejected for p in parts]))
