"""The quantities of preflens, and the names of their axes.

All annotations use one vocabulary of axes:

==================  ====================================================================
axis                is
==================  ====================================================================
``pair``            preference pairs
``response``        2·pair rows, chosen responses first
``token``           positions of a padded row
``scored_token``    tokens of all responses that have a log-prob, response by response
``chosen_token``    tokens of the chosen responses, padded at the end
``rejected_token``  tokens of the rejected responses, padded at the end
``response_token``  either of the two
``vocab``           entries of the vocabulary
``in``, ``out``     input and output features of a layer
``row``             rows of one response in a layer: positions, heads and positions, or one
``*block``          blocks of a Gram: none, layers or modules
``step``            steps of a rollout, including the start
==================  ====================================================================

Log-probs are sums over the tokens of a response, in nats. No quantity is a mean over a batch or over tokens unless its
name ends in ``_per_token``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from preflens.errors import NumericalError, UnsupportedObjectiveError
from preflens.pair_logps import TokenCoefficients

# How far the square of an inner product may exceed the product of squared norms, as a share of it. Both are equal for
# identical responses, and products of float32 gradients are off by up to a millionth of the product of norms.
_CAUCHY_SCHWARZ_SLACK = 2e-6
_PAIR_ENTRIES = ("chosen_sq_norm", "rejected_sq_norm", "inner_product")


@dataclass(frozen=True)
class TokenRows:
    """Positions of padded rows that can carry a gradient; other positions need no work.

    Positions outside have a zero gradient, and shared positions have equal tokens in both responses of a pair.

    Attributes:
        start: first real token of each response's row.
        end: one past the last position whose output reaches a score.
        shared: number of positions from `start` on at which both responses of a pair have equal tokens.
        width: number of positions of the padded rows.

    Example:
        One pair: a prompt of two tokens, then responses of two and three tokens. The last token predicts nothing.

        >>> rows = TokenRows(torch.tensor([0, 0]), torch.tensor([3, 4]), shared=torch.tensor([2]), width=5)
        >>> (rows.end - rows.start).tolist()
        [3, 4]
    """

    start: Int[Tensor, " response"]
    end: Int[Tensor, " response"]
    shared: Int[Tensor, " pair"]
    width: int


@dataclass(frozen=True)
class HeadInput:
    """The input of a language model's output head, from which the log-probs of responses can be computed.

    With z = scale · (W h + b), or κ tanh(z/κ) of that where there is a `soft_cap` κ, the log-prob of a response is
    a_i = Σ_t ( z_t[y_t] − log Σ_v exp z_t[v] ) over its scored tokens t, in nats.

    Attributes:
        hidden: h of every position that predicts a response token, response by response, with its graph.
        weight: W, a parameter of the module.
        targets: y, the tokens that are scored.
        response_index: the response of each position, ascending.
        responses: number of responses; the first half is chosen, the second half rejected.
        bias: b, or None.
        scale: factor on the scores.
        soft_cap: κ, or None.
        rows: positions that can carry a gradient; None where they are not known.

    Example:
        A vocabulary of two tokens, h = 0: every token has the log-prob −log 2, whatever W is.

        >>> from preflens.gram import pair_gram
        >>> module = torch.nn.Linear(1, 2, bias=False)
        >>> hidden, targets, index = torch.zeros(2, 1), torch.tensor([0, 1]), torch.tensor([0, 1])
        >>> head = HeadInput(hidden, module.weight, targets, index, responses=2)
        >>> pair_gram(module, lambda: head).chosen_sq_norm.item()
        0.0
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
    """Coefficients of the chosen and the rejected gradient in a step of gradient descent.

    The negative gradient of a pair's loss is d_w ∇log π(y_w|x) − d_l ∇log π(y_l|x). Coefficients have no unit. They may
    be negative, and are never clamped.

    Attributes:
        chosen: d_w = −∂L/∂log π(y_w|x); with `per_token`, the mean of d_{w,t} over the response's tokens.
        rejected: d_l = +∂L/∂log π(y_l|x); with `per_token`, the mean of d_{l,t} over the response's tokens.
        per_token: the coefficient of each token, where an objective has different coefficients for the tokens of a
            response. No Gram of whole responses can predict such a step, so `signed` refuses.

    Example:
        >>> d_w, d_l = torch.tensor([0.5, 0.25]).double(), torch.tensor([0.5, 0.125]).double()
        >>> PairCoefficients(d_w, d_l).signed().tolist()
        [0.5, 0.25, -0.5, -0.125]
    """

    chosen: Float64[Tensor, " pair"]
    rejected: Float64[Tensor, " pair"]
    per_token: TokenCoefficients | None = None

    def signed(self) -> Float64[Tensor, " response"]:
        """Return the vector c with c_i = −∂L/∂a_i: d_w for chosen rows, −d_l for rejected rows.

        Raises:
            UnsupportedObjectiveError: the tokens of a response have different coefficients.
        """
        coefficients = self.of_whole_responses()
        return torch.cat([coefficients.chosen, -coefficients.rejected])

    def of_whole_responses(self) -> "PairCoefficients":
        """Return these coefficients if they are the same for all tokens of a response.

        Raises:
            UnsupportedObjectiveError: the tokens of a response have different coefficients.
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

    Example:
        Both responses of a pair lose log-prob, the rejected one more:

        >>> change = LogpChange(torch.tensor([-0.25]).double(), torch.tensor([-1.0]).double())
        >>> change.margin.item()
        0.75
    """

    chosen: Float64[Tensor, " pair"]
    rejected: Float64[Tensor, " pair"]

    @property
    def margin(self) -> Float64[Tensor, " pair"]:
        """Change of log π(y_w|x) − log π(y_l|x), nats."""
        return self.chosen - self.rejected

    def part(self, pairs: slice) -> "LogpChange":
        """Return the change of some of the pairs."""
        return LogpChange(self.chosen[pairs], self.rejected[pairs])


@dataclass(frozen=True)
class PairGram:
    """Gradient geometry of preference pairs: the 2×2 Gram matrix of each pair.

    Here g_w = ∇log π(y_w|x) and g_l = ∇log π(y_l|x) over the trainable parameters. Unit: squared nats per squared
    parameter unit. With blocks, the leading axis runs over them, and their entries add up to those of the whole.

    Attributes:
        chosen_sq_norm: ‖g_w‖².
        rejected_sq_norm: ‖g_l‖².
        inner_product: ⟨g_w, g_l⟩.
        blocks: names of the leading axis (layers or modules), or None.

    Raises:
        NumericalError: an entry is not finite, a squared norm is negative, or Cauchy-Schwarz fails.

    Example:
        Gradients of length 1 and 5 at an angle whose cosine is 0.6:

        >>> products = torch.tensor([[1.0], [25.0], [3.0]]).double()
        >>> round(PairGram.from_products(products).cosine.item(), 4)
        0.6
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

    Rows are responses, chosen responses first, so the entries at (i, i + pair) form the `PairGram` of the batch.

    Attributes:
        matrix: G, squared nats per squared parameter unit.
        logps: the a_i that were differentiated, nats.
        blocks: names of the leading axis (layers or modules), or None.

    Raises:
        NumericalError: an entry of G is not finite.

    Example:
        >>> gram = BatchGram(torch.tensor([[1.0, 3.0], [3.0, 25.0]]).double(), torch.zeros(2).double())
        >>> gram.pairs, gram.pair_gram().inner_product.tolist()
        (1, [3.0])
    """

    matrix: Float64[Tensor, "*block response response"]
    logps: Float64[Tensor, " response"]
    blocks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check_finite("matrix", self.matrix)

    @property
    def pairs(self) -> int:
        """Number of pairs of the batch."""
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
        index = tuple(torch.isfinite(values).logical_not().nonzero()[0].tolist())
        raise NumericalError(
            f"The gradient Gram is not finite: `{name}` is {values[index].item()} at index {index}. "
            'Gradients overflowed. Compute in float32 (`dtype="float32"`).',
            arguments=["dtype"],
        )


# The two responses of a pair.
Side = Literal["chosen", "rejected"]
SIDES: tuple[Side, Side] = ("chosen", "rejected")
