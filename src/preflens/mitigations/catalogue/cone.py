"""The smallest change of an update after which every chosen response rises and every rejected one falls."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from scipy.optimize import nnls
from torch import Tensor

from preflens.errors import NumericalError
from preflens.mitigations.kinds.base import CoefficientMap, Mitigated, MovingAverages, within
from preflens.mitigations.kinds.batch_update import BatchUpdate, update_of
from preflens.objectives.kinds.base import Citation
from preflens.types import BatchGram, PairCoefficients, PairGram

# Below this share of the plain update's size we say that an update has collapsed.
COLLAPSED = 0.1
_MET = 1e-2  # by how much of itself a floor may be missed and still count as met: slack is not free of charge

_CONSTRAINED = Citation(
    title="Gradient Episodic Memory for Continual Learning", authors="Lopez-Paz et al.", year=2017, arxiv="1706.08840",
    location="Eqs. 8-12: the same projection, with losses of tasks in place of log-probs of responses",
    unverified="place not confirmed",
)  # fmt: skip


def cone(floor: float = 0.1, slack: float = 1e-3, strength: float = 1.0) -> CoefficientMap:
    """Change an update as little as possible so that, to first order, all log-probs move as they should.

    With u = Σ c_i g_i the plain update (its common factor 1/n apart) and s_i = ±1 for chosen and rejected, find the u'
    nearest to u with s_i ⟨g_i, u'⟩ ≥ b_i for every response of the update batch and of the probe pairs. Its dual is a
    non-negative least squares problem on G: u' = u + Σ x_i s_i g_i with x ≥ 0. All floors are the same,
    b = floor · mean |⟨g_i, u⟩| over the responses that are treated. Where floors contradict each other, a squared
    penalty on what is missing decides.
    An update that can only obey by shrinking to nothing is reported: `size` is ‖u'‖/‖u‖, and `collapsed` is 1 where it
    is below a tenth.

    The promise is about a plain gradient step over exactly these responses. Where an update batch is split into
    micro-batches, the cone of each is its own.

    Args:
        floor: least movement of every response, as a share of the plain update's mean movement; no unit.
        slack: how soft the floors are, relative to squared gradient norms: a floor is missed by `slack` times the
            weight that its response gets. Small is exact; too small trusts the rounding of gradients.
        strength: 0 for the plain step, 1 for the whole map.

    Returns:
        The mitigation.

    References:
        The projection is that of gradient episodic memory, arXiv 1706.08840; on responses of preference pairs it is
        ours. The dual is solved by Lawson and Hanson's algorithm (`scipy.optimize.nnls`).
    """
    within("cone", 0.0, float("inf"), floor=floor)
    within("cone", 1e-12, float("inf"), slack=slack)

    def full(coefficients: PairCoefficients, gram: PairGram | BatchGram, state: MovingAverages | None) -> Mitigated:
        assert isinstance(gram, BatchGram)
        update = update_of(coefficients, gram)
        movement = update.gram @ update.weights
        own = update.free & (update.weights != 0)
        mean = movement[own].abs().mean() if bool(own.any()) else movement.new_zeros(())
        nearest = nearest_update(update, floor * mean.expand(len(movement)), slack=slack)
        before = update.size(update.weights)
        size = nearest.size / before if before > 0 else 1.0
        report = {"size": size, "collapsed": float(size < COLLAPSED), "floors_met": nearest.met}
        return Mitigated(update.coefficients(nearest.weights), update.untreated, state, report)

    parameters = {"floor": floor, "slack": slack, "strength": strength}
    return CoefficientMap("cone", full, _CONSTRAINED, "batch", strength, parameters)


@dataclass(frozen=True)
class Nearest:
    """An update that obeys floors, or nearly.

    Attributes:
        weights: of the gradients in it.
        size: its norm.
        met: share of the floors that it obeys.
    """

    weights: Float64[Tensor, " response"]
    size: float
    met: float


def nearest_update(update: BatchUpdate, floors: Float64[Tensor, " response"], *, slack: float) -> Nearest:
    """Find the update nearest to the plain one that moves every free response by at least its floor.

    min ‖u' − u‖² + Σ ξ_i²/slack with s_i ⟨ĝ_i, u'⟩ ≥ b_i/‖g_i‖ − ξ_i, ĝ = g/‖g‖. Its dual over y ≥ 0 is
    ½ yᵀ(M + slack·1)y − qᵀy, M the Gram of the s_i ĝ_i and q what the plain update falls short of the floors by. With
    the Cholesky factor LLᵀ of M + slack·1 that is ½ ‖Lᵀy − L⁻¹q‖².

    Args:
        update: the plain one.
        floors: b, nats for each unit of learning rate; those of other than free responses are not read.
        slack: price of what is missing, no unit.

    Returns:
        The update.
    """
    free = update.free
    norms, signs = update.gram.diagonal()[free].sqrt(), update.signs[free]
    change, goals = (update.gram @ update.weights)[free], floors[free]
    short = (goals - signs * change) / norms
    weights = update.weights
    if bool((short > 0).any()):
        unit = signs / norms
        weights = weights.clone()
        weights[free] += unit * _dual(unit[:, None] * update.gram[free][:, free] * unit, short, slack)
    return Nearest(weights, update.size(weights), _met(update, weights, goals, free))


def _dual(
    matrix: Float64[Tensor, "free free"], short: Float64[Tensor, " free"], slack: float
) -> Float64[Tensor, " free"]:
    lower = torch.linalg.cholesky(matrix + slack * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device))
    largest = short.abs().max()  # the problem is linear in it
    goal = torch.linalg.solve_triangular(lower, (short / largest)[:, None], upper=False)[:, 0]
    try:
        found, _ = nnls(lower.T.cpu().numpy(), goal.cpu().numpy(), maxiter=30 * len(goal))
    except RuntimeError as error:
        raise NumericalError(
            f"The cone over {len(goal)} responses was not found: {error}. Raise `slack`, or step with fewer pairs."
        ) from None
    return largest * torch.as_tensor(found, dtype=matrix.dtype, device=matrix.device)


def _met(
    update: BatchUpdate,
    weights: Float64[Tensor, " response"],
    goals: Float64[Tensor, " free"],
    free: Bool[Tensor, " _"],
) -> float:
    if not bool(free.any()):
        return 1.0
    movement = (update.signs * (update.gram @ weights))[free]
    near = _MET * goals.abs() + 1e-12 * update.gram.diagonal()[free].sqrt() * update.size(weights)
    return float((movement >= goals - near).double().mean())
