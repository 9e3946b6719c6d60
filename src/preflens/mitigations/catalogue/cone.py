"""Cone: the smallest change of an update after which every chosen log-prob rises and every rejected one falls."""

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

# An update has collapsed if its norm is below this share of the plain update's.
COLLAPSED = 0.1
_MET = 1e-2  # relative tolerance at which a floor counts as met: slack leaves small violations

_CONSTRAINED = Citation(
    title="Gradient Episodic Memory for Continual Learning", authors="Lopez-Paz et al.", year=2017, arxiv="1706.08840",
    location="Eqs. 8-12: the same projection, with losses of tasks in place of log-probs of responses",
    unverified="place not confirmed",
)  # fmt: skip


def cone(floor: float = 0.1, slack: float = 1e-3, strength: float = 1.0) -> CoefficientMap:
    """Change an update as little as possible so that, to first order, all log-probs move as intended.

    With u = Σ c_i g_i the plain update (without its common factor 1/n) and s_i = ±1 for chosen and rejected, find the
    u' nearest to u with s_i ⟨g_i, u'⟩ ≥ b_i for every response of the update batch and of the constraint pairs. Its
    dual is a non-negative least squares problem on G: u' = u + Σ x_i s_i g_i with x ≥ 0. All floors are the same, b =
    floor · mean |⟨g_i, u⟩| over the treated responses. Where floors contradict each other, the squared shortfall is
    penalized. An update that can meet the floors only by shrinking towards zero is reported: `size` is ‖u'‖/‖u‖, and
    `collapsed` is 1 where it is below a tenth.

    The guarantee holds for a plain gradient step over exactly these responses. Where an update batch is split into
    micro-batches, each micro-batch has its own cone.

    Args:
        floor: minimal change of every log-prob, as a share of the mean change by the plain update; no unit.
        slack: softness of the floors, relative to squared gradient norms: a floor is missed by `slack` times the added
            weight of its response. A small value is more exact; too small a value amplifies rounding of gradients.
        strength: 0 for the plain step, 1 for the full map.

    Returns:
        The mitigation.

    Example:
        The plain update (−1, 0) lowers both log-probs. In the nearest one, chosen does not fall.

        >>> import torch
        >>> from preflens.mitigations import cone
        >>> from preflens.types import BatchGram, PairCoefficients
        >>> g = torch.tensor([[1.0, 0.0], [2.0, 0.5]], dtype=torch.float64)  # rows: g_w, g_l
        >>> gram, one = BatchGram(g @ g.T, torch.zeros(2, dtype=torch.float64)), torch.ones(1, dtype=torch.float64)
        >>> d = cone(floor=0.0, slack=1e-9).apply(PairCoefficients(one, one), gram).coefficients
        >>> update = torch.cat([d.chosen, -d.rejected]) @ g
        >>> [abs(round(x, 4)) for x in (g @ update)[:1].tolist()], bool((g @ update)[1] < 0)
        ([0.0], True)

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
        treated = update.free & (update.weights != 0)
        mean = movement[treated].abs().mean() if bool(treated.any()) else movement.new_zeros(())
        nearest = nearest_update(update, floor * mean.expand(len(movement)), slack=slack)
        before = update.size(update.weights)
        size = nearest.size / before if before > 0 else 1.0
        report = {"size": size, "collapsed": float(size < COLLAPSED), "floors_met": nearest.met}
        return Mitigated(update.coefficients(nearest.weights), update.untreated, state, report)

    parameters = {"floor": floor, "slack": slack, "strength": strength}
    return CoefficientMap("cone", full, _CONSTRAINED, "batch", strength, parameters)


@dataclass(frozen=True)
class Nearest:
    """The nearest update that meets the floors, up to slack.

    Attributes:
        weights: weight of each gradient.
        size: the norm of the update.
        met: share of the floors that are met.
    """

    weights: Float64[Tensor, " response"]
    size: float
    met: float


def nearest_update(update: BatchUpdate, floors: Float64[Tensor, " response"], *, slack: float) -> Nearest:
    """Find the update nearest to the plain one that changes every free response's log-prob by at least its floor.

    min ‖u' − u‖² + Σ ξ_i²/slack with s_i ⟨ĝ_i, u'⟩ ≥ b_i/‖g_i‖ − ξ_i, ĝ = g/‖g‖. Its dual over y ≥ 0 is
    ½ yᵀ(M + slack·1)y − qᵀy, M the Gram of the s_i ĝ_i and q the shortfalls of the plain update. With
    the Cholesky factor LLᵀ of M + slack·1 that is ½ ‖Lᵀy − L⁻¹q‖².

    Args:
        update: the plain update.
        floors: b, nats per unit of learning rate; read for free responses only.
        slack: inverse of the penalty on squared shortfalls, no unit.

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
    largest = short.abs().max()  # the solution scales with it
    goal = torch.linalg.solve_triangular(lower, (short / largest)[:, None], upper=False)[:, 0]
    try:
        solution, _ = nnls(lower.T.cpu().numpy(), goal.cpu().numpy(), maxiter=30 * len(goal))
    except RuntimeError as error:
        raise NumericalError(
            f"The cone over {len(goal)} responses was not solved: {error}. Raise `slack`, or step with fewer pairs."
        ) from None
    return largest * torch.as_tensor(solution, dtype=matrix.dtype, device=matrix.device)


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
