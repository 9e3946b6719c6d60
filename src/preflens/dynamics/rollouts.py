"""Many plain gradient steps with the Gram held fixed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from preflens.errors import NumericalError, UnsupportedObjectiveError
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.types import BatchGram, PairCoefficients

# A change of an objective's coefficients before the step, from the Gram of the pairs that share it.
CoefficientTransform = Callable[[PairCoefficients, BatchGram], PairCoefficients]


@dataclass(frozen=True)
class Rollout:
    """Log-probs along steps of an objective with the Gram held fixed; nats.

    Attributes:
        chosen: log-probs of the chosen responses, the start first.
        rejected: log-probs of the rejected responses, the start first.

    Example:
        >>> Rollout(torch.zeros(3, 2).double(), torch.zeros(3, 2).double()).chosen.shape
        torch.Size([3, 2])
    """

    chosen: Float64[Tensor, "step pair"]
    rejected: Float64[Tensor, "step pair"]


def rollout(
    gram: BatchGram,
    logps: PairLogps,
    objective: Objective,
    *,
    steps: int,
    learning_rate: float,
    batches: Sequence[Sequence[int]] | None = None,
    transform: CoefficientTransform | None = None,
) -> Rollout:
    """Predict log-probs over many steps of an objective with the Gram held fixed.

    Nothing keeps a log-prob below zero. From the first step with a log-prob above it, the numbers are no forecast.

    Args:
        gram: geometry of all pairs; blocks, if any, are added up.
        logps: log-probs at the start, with the other inputs of the objective.
        objective: the loss that is minimized.
        steps: number of steps.
        learning_rate: η.
        batches: as for `iterate_rollout`.
        transform: as for `iterate_rollout`.

    Returns:
        Log-probs at the start and after every step.

    Raises:
        NumericalError: a log-prob is no longer finite; the steps are too large for this objective.
        UnsupportedObjectiveError: as for `iterate_rollout`.

    Example:
        One pair, orthogonal gradients of norm 1, SLiC-HF with its hinge active: d_w = 1.1 and d_l = 1 at every step.

        >>> import torch
        >>> from preflens.objectives import slic
        >>> from preflens.pair_logps import PairLogps
        >>> from preflens.types import BatchGram
        >>> start = torch.tensor([-10.0], dtype=torch.float64)
        >>> gram = BatchGram(torch.eye(2, dtype=torch.float64), torch.cat([start, start]))
        >>> path = rollout(gram, PairLogps(start, start), slic(delta=1.0, lam=0.1), steps=2, learning_rate=0.1)
        >>> [[round(x, 2) for x in side[:, 0].tolist()] for side in (path.chosen, path.rejected)]
        [[-10.0, -9.89, -9.78], [-10.0, -10.1, -10.2]]
    """
    path = iterate_rollout(gram, logps, objective, learning_rate=learning_rate, batches=batches, transform=transform)
    return Rollout(*torch.stack(list(islice(path, steps + 1)), dim=1).unbind())


def iterate_rollout(
    gram: BatchGram,
    logps: PairLogps,
    objective: Objective,
    *,
    learning_rate: float,
    batches: Sequence[Sequence[int]] | None = None,
    transform: CoefficientTransform | None = None,
) -> Iterator[Float64[Tensor, "two pair"]]:
    """Yield log-probs after each step, indefinitely, with the Gram held fixed.

    a ← a + (η/n) G[:, b] c(a_b). The coefficients are computed anew at every step from the n pairs b that share it.
    Exact for a model that is linear in its parameters; elsewhere an estimate whose error grows as G changes.

    Args:
        gram: geometry of all pairs; blocks, if any, are added up.
        logps: log-probs at the start, with the other inputs of the objective.
        objective: the loss that is minimized.
        learning_rate: η.
        batches: indices of the pairs that share an update, in turn, over and over. Pairs in none of them do not step,
            as held-out pairs. None: all pairs share every step.
        transform: changes the coefficients of every step, as a mitigation does (`mitigations.as_rollout_transform`).

    Yields:
        Chosen and rejected log-probs, at the start and after every step, nats.

    Raises:
        NumericalError: a log-prob is no longer finite; the steps are too large for this objective.
        UnsupportedObjectiveError: the objective uses log-probs of tokens or of an extrapolated policy, which a rollout
            of whole responses cannot update.

    Example:
        >>> from itertools import islice
        >>> import torch
        >>> from preflens.objectives import slic
        >>> from preflens.pair_logps import PairLogps
        >>> from preflens.types import BatchGram
        >>> start = torch.tensor([-10.0], dtype=torch.float64)
        >>> gram = BatchGram(torch.eye(2, dtype=torch.float64), torch.cat([start, start]))
        >>> path = iterate_rollout(gram, PairLogps(start, start), slic(), learning_rate=0.1)
        >>> [round(chosen.item(), 2) for chosen, _ in islice(path, 3)]
        [-10.0, -9.89, -9.78]
    """
    unsupported = sorted(objective.inputs - {"reference", "length"})
    if unsupported:
        raise UnsupportedObjectiveError(
            f"A rollout follows log-probs of whole responses, and objective `{objective.name}` also uses: "
            f"{', '.join(unsupported)}. Take real steps instead."
        )
    total, current = gram.total(), logps.double()
    update_batches = [torch.tensor(b) for b in ([range(gram.pairs)] if batches is None else batches)]
    values = torch.stack([current.chosen, current.rejected])
    for indices in cycle(update_batches):
        yield values
        values = values + learning_rate * step_change(total, current, objective, indices, transform=transform)
        if not bool(torch.isfinite(values).all()):
            raise NumericalError("A log-prob of the rollout is not finite: the steps are too large for this objective.")
        current = replace(current, chosen=values[0], rejected=values[1])


def step_change(
    gram: BatchGram,
    logps: PairLogps,
    objective: Objective,
    indices: Int[Tensor, " _"],
    *,
    transform: CoefficientTransform | None = None,
) -> Float64[Tensor, "two pair"]:
    """Predict how one plain step on the mean loss of an update batch changes all log-probs: G[:, b] c(a_b)/n.

    Args:
        gram: geometry of all pairs; blocks, if any, are added up.
        logps: log-probs of all pairs, with the other inputs of the objective.
        objective: the loss that is minimized.
        indices: b, the n pairs that share the step.
        transform: changes the coefficients, as a mitigation does (`mitigations.as_rollout_transform`).

    Returns:
        Change of chosen and of rejected log-probs, nats per unit of learning rate.

    Example:
        >>> import torch
        >>> from preflens.objectives import slic
        >>> from preflens.pair_logps import PairLogps
        >>> from preflens.types import BatchGram
        >>> start = torch.tensor([-10.0], dtype=torch.float64)
        >>> gram = BatchGram(torch.eye(2, dtype=torch.float64), torch.cat([start, start]))
        >>> step_change(gram, PairLogps(start, start), slic(), torch.tensor([0])).flatten().tolist()
        [1.1, -1.0]
    """
    matrix, coefficients = gram.total().matrix, objective.coefficients(logps.take(indices))
    rows = torch.cat([indices, indices + gram.pairs])
    if transform is not None:
        values = torch.cat([logps.chosen, logps.rejected]).double()
        coefficients = transform(coefficients, BatchGram(matrix[rows][:, rows], values[rows]))
    return (matrix[:, rows] @ coefficients.signed() / len(indices)).reshape(2, -1)
