"""The quantities preflens speaks of, and the names of their axes.

One vocabulary of axes is used in every annotation:

==================  ====================================================================
axis                is
==================  ====================================================================
``pair``            preference pairs
``response``        2·pair rows, the chosen ones first
``token``           positions of a padded row
``scored_token``    tokens of all responses that have a log-prob, response by response
``chosen_token``    tokens of the chosen responses, padded at the end
``rejected_token``  tokens of the rejected responses, padded at the end
``response_token``  either of these two
``vocab``           entries of the vocabulary
``in``, ``out``     input and output features of a layer
``row``             rows a layer sees of one response: positions, heads and positions, or one
``*block``          what a Gram is broken down by: nothing, or layers, or modules
``step``            steps of a rollout, the start included
==================  ====================================================================

Log-probabilities are sums over the tokens of a response, in nats. Nothing here is a mean over a batch or over tokens
unless its name says ``_per_token``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from preflens.errors import NumericalError, UnsupportedObjectiveError
from preflens.pair_logps import TokenCoefficients

# How far the square of an inner product may exceed the product of squared norms, as a share of it. For two identical
# responses they are equal, and products of float32 gradients are off by up to a millionth of the product of norms.
_CAUCHY_SCHWARZ_SLACK = 2e-6
_PAIR_ENTRIES = ("chosen_sq_norm", "rejected_sq_norm", "inner_product")


def chosen_first(counts: Sequence[int]) -> Int[Tensor, " response"]:
    """Return the permutation that puts the chosen responses of several passes before all rejected ones.

    Args:
        counts: number of responses of each pass, whose first half is chosen.

    Returns:
        Indices into the responses of all passes, one pass after the other.

    Example:
        Two passes, of one pair and of two pairs:

        >>> chosen_first([2, 4]).tolist()
        [0, 2, 3, 1, 4, 5]
    """
    indices = torch.arange(sum(counts)).split(list(counts))
    return torch.cat([part.chunk(2)[side] for side in (0, 1) for part in indices])


@dataclass(frozen=True)
class TokenRows:
    """Which positions of the rows matter, so that no work goes into the others.

    Only a hint: what it leaves out has a zero gradient, and what it calls shared is equal in both responses of a pair.

    Attributes:
        start: first real token of each response's row.
        end: one past the last position whose output reaches a score.
        shared: positions from `start` on that both responses of a pair have in common, token by token.
        width: positions of the padded rows.
    """

    start: Int[Tensor, " response"]
    end: Int[Tensor, " response"]
    shared: Int[Tensor, " pair"]
    width: int


@dataclass(frozen=True)
class HeadInput:
    """What the output head of a language model gets, in place of the log-probs that it would lead to.

    With z = scale · (W h + b), capped to κ tanh(z/κ) where there is a `soft_cap` κ, the log-prob of a response is
    a_i = Σ_t ( z_t[y_t] − log Σ_v exp z_t[v] ) over its scored tokens t, in nats.

    Attributes:
        hidden: h of every position that predicts a response token, response by response, with its graph.
        weight: W, a parameter of the module.
        targets: y, the tokens that are scored.
        response_index: which response each position belongs to, ascending.
        responses: how many responses there are, the chosen ones first.
        bias: b, or None.
        scale: factor on the scores.
        soft_cap: κ, or None.
        rows: which positions of the rows matter, or None where that is not known.
    """

    hidden: Float[Tensor, "scored_token in"]
    weight: Float[Tensor, "vocab in"]
    targets: Int[Tensor, " scored_token"]
    response_index: Int[Tensor, " scored_token"]
    responses: int
    bias: Float[Tensor, " vocab"] | None = None
    scale: float = 1.0
    soft_cap: float | None = None
    rows: TokenRows | None = None


@dataclass(frozen=True)
class PairCoefficients:
    """How strongly a step climbs the chosen gradient and descends the rejected one.

    The negative gradient of a pair's loss is d_w ∇log π(y_w|x) − d_l ∇log π(y_l|x). No unit; a coefficient may be
    negative, and is never clamped.

    Attributes:
        chosen: d_w = −∂L/∂log π(y_w|x); with `per_token`, the mean of d_{w,t} over the response's tokens.
        rejected: d_l = +∂L/∂log π(y_l|x); with `per_token`, the mean of d_{l,t} over the response's tokens.
        per_token: the coefficient of each token, where an objective weighs tokens differently. No Gram of whole
            responses can predict such a step, so `signed` and whatever builds on it refuse.
    """

    chosen: Float64[Tensor, " pair"]
    rejected: Float64[Tensor, " pair"]
    per_token: TokenCoefficients | None = None

    def signed(self) -> Float64[Tensor, " response"]:
        """Return the vector c with c_i = −∂L/∂a_i: d_w for chosen rows, −d_l for rejected rows.

        Raises:
            UnsupportedObjectiveError: tokens have coefficients of their own.
        """
        whole = self.of_whole_responses()
        return torch.cat([whole.chosen, -whole.rejected])

    def of_whole_responses(self) -> "PairCoefficients":
        """Return these coefficients if one number a response says it all.

        Raises:
            UnsupportedObjectiveError: tokens have coefficients of their own.
        """
        if self.per_token is not None:
            raise UnsupportedObjectiveError(
                "This objective weighs the tokens of a response differently, so gradients of whole responses cannot "
                "predict its step. Use its `coefficients(...).per_token` with gradients of tokens."
            )
        return self


@dataclass(frozen=True)
class LogpChange:
    """A change of log-probs, predicted or measured, in nats.

    Attributes:
        chosen: change of log π(y_w|x).
        rejected: change of log π(y_l|x).
    """

    chosen: Float64[Tensor, " pair"]
    rejected: Float64[Tensor, " pair"]

    @property
    def margin(self) -> Float64[Tensor, " pair"]:
        """Change of log π(y_w|x) − log π(y_l|x), nats."""
        return self.chosen - self.rejected

    def part(self, here: slice) -> "LogpChange":
        """Return the change of some of the pairs."""
        return LogpChange(self.chosen[here], self.rejected[here])


@dataclass(frozen=True)
class PairGram:
    """Gradient geometry of preference pairs: the 2×2 Gram matrix of each pair.

    With g_w = ∇log π(y_w|x) and g_l = ∇log π(y_l|x) over the trainable parameters. Units: squared nats per squared
    parameter unit. With blocks, the leading axis runs over them and the blocks add up to the whole.

    Attributes:
        chosen_sq_norm: ‖g_w‖².
        rejected_sq_norm: ‖g_l‖².
        inner_product: ⟨g_w, g_l⟩.
        blocks: names of the leading axis (layers or modules), or None.

    Raises:
        NumericalError: an entry is not finite, a squared norm is negative, or Cauchy-Schwarz fails.
    """

    chosen_sq_norm: Float64[Tensor, "*block pair"]
    rejected_sq_norm: Float64[Tensor, "*block pair"]
    inner_product: Float64[Tensor, "*block pair"]
    blocks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in _PAIR_ENTRIES:
            _check_finite(name, getattr(self, name))
        product = self.chosen_sq_norm * self.rejected_sq_norm
        negative = (self.chosen_sq_norm < 0) | (self.rejected_sq_norm < 0)
        beyond = self.inner_product.square() > product * (1 + _CAUCHY_SCHWARZ_SLACK)
        if bool((negative | beyond).any()):
            row = int((negative | beyond).reshape(-1, product.shape[-1]).any(0).nonzero()[0])
            raise NumericalError(f"The gradient Gram of pair {row} (from 0) is not positive semi-definite.")

    @classmethod
    def from_products(
        cls, products: Float64[Tensor, "*block three pair"], blocks: tuple[str, ...] | None = None
    ) -> "PairGram":
        """Return the Gram whose entries are stacked: ‖g_w‖², ‖g_l‖² and ⟨g_w, g_l⟩ on the last axis but one."""
        chosen, rejected, inner = products.unbind(-2)
        return cls(chosen, rejected, inner, blocks)

    @classmethod
    def concatenate(cls, grams: Sequence["PairGram"]) -> "PairGram":
        """Return the Gram of the pairs of several Grams of the same blocks, one after the other."""
        entries = (torch.cat([getattr(gram, name) for gram in grams], dim=-1) for name in _PAIR_ENTRIES)
        chosen, rejected, inner = entries
        return cls(chosen, rejected, inner, grams[0].blocks)

    @property
    def cosine(self) -> Float64[Tensor, "*block pair"]:
        """ρ = ⟨g_w, g_l⟩ / (‖g_w‖ ‖g_l‖); NaN where a gradient is zero."""
        return self.inner_product / (self.chosen_sq_norm * self.rejected_sq_norm).sqrt()

    def total(self) -> "PairGram":
        """Return the sum over blocks."""
        if self.blocks is None:
            return self
        return PairGram(self.chosen_sq_norm.sum(0), self.rejected_sq_norm.sum(0), self.inner_product.sum(0))


@dataclass(frozen=True)
class BatchGram:
    """The Gram matrix of all response gradients of a batch: G_ij = ⟨∇a_i, ∇a_j⟩.

    Rows are responses, the chosen ones first, so the 2×2 matrices on (i, i + pair) are the batch's `PairGram`.

    Attributes:
        matrix: G, squared nats per squared parameter unit.
        logps: the a_i that were differentiated, nats.
        blocks: names of the leading axis (layers or modules), or None.

    Raises:
        NumericalError: an entry of G is not finite.
    """

    matrix: Float64[Tensor, "*block response response"]
    logps: Float64[Tensor, " response"]
    blocks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check_finite("matrix", self.matrix)

    @property
    def pairs(self) -> int:
        """How many pairs the batch holds."""
        return self.matrix.shape[-1] // 2

    def pair_gram(self) -> PairGram:
        """Return the 2×2 Gram of each pair."""
        n = self.pairs
        diagonal = self.matrix.diagonal(dim1=-2, dim2=-1)
        cross = self.matrix[..., :n, n:].diagonal(dim1=-2, dim2=-1)
        return PairGram(diagonal[..., :n], diagonal[..., n:], cross, self.blocks)

    def total(self) -> "BatchGram":
        """Return the sum over blocks."""
        return self if self.blocks is None else BatchGram(self.matrix.sum(0), self.logps)


def _check_finite(name: str, values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        place = tuple(torch.isfinite(values).logical_not().nonzero()[0].tolist())
        raise NumericalError(
            f"The gradient Gram is not finite: `{name}` is {values[place].item()} at index {place}. "
            'Gradients overflowed; compute in float32 (`dtype="float32"`).',
            arguments=["dtype"],
        )
