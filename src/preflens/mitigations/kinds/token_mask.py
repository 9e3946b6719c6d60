"""The type of mitigations that weight tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.errors import InputError
from preflens.mitigations.kinds.token_weights import LearnedMasks, TokenWeights, contrast_tokens, lambda_star, sparsest
from preflens.objectives.kinds.base import Citation
from preflens.pair_logps import PairLogps, ResponseLogps
from preflens.specs import Value
from preflens.types import PairGram

Ids = Sequence[tuple[Sequence[int], Sequence[int]]]  # token ids of the chosen and the rejected response of each pair

MASK_KINDS = ("exact", "learned", "contrast", "lambda")


@dataclass(frozen=True)
class SharedGeometry:
    """The inputs of λ*.

    Attributes:
        gram: Gram of the whole responses.
        shared_product: ⟨g_w, S⟩, S the gradient of the rejected response's shared tokens.
        ratio: d_w/d_l.

    Example:
        >>> from preflens.types import PairGram
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> SharedGeometry(PairGram(one, one, 0.5 * one), shared_product=0.5 * one, ratio=one).ratio.item()
        1.0
    """

    gram: PairGram
    shared_product: Float64[Tensor, " pair"]
    ratio: Float64[Tensor, " pair"]


@dataclass(frozen=True)
class TokenMask:
    """A mitigation that weights tokens.

    Attributes:
        name: the name in the table of mitigations.
        kind: the mask, one of `MASK_KINDS`.
        beta: β of the loss that determines the masks.
        kappa: κ, the penalty per token.
        warm_up: updates over which the penalty rises from 0.
        rate: step size of learned masks.
        source: the paper.
        strength: 0 leaves every weight at 1; 1 applies the full mask.
        parameters: hyperparameters, by name.

    Example:
        >>> from preflens.mitigations import parse_mitigation
        >>> mask = parse_mitigation("sparse_mask:kind=lambda")
        >>> isinstance(mask, TokenMask), mask.needs_geometry
        (True, True)
    """

    name: str
    kind: str
    beta: float
    kappa: float
    warm_up: float
    rate: float
    source: Citation
    strength: float
    parameters: Mapping[str, Value] = field(default_factory=dict)

    @property
    def needs_geometry(self) -> bool:
        """Whether `apply` needs gradient products."""
        return self.kind == "lambda"

    def apply(
        self,
        logps: PairLogps,
        ids: Ids,
        *,
        keys: Sequence[str] = (),
        state: LearnedMasks | None = None,
        geometry: SharedGeometry | None = None,
    ) -> tuple[TokenWeights, LearnedMasks | None]:
        """Compute the token weights of a batch. Log-ratios are treated as constants.

        Args:
            logps: log-probs, with token log-probs under policy and reference; detached.
            ids: token ids of the responses.
            keys: a unique key per pair, for learned masks.
            state: the state returned at the previous update.
            geometry: inputs of λ*, for kind `lambda`.

        Returns:
            The weights, and the state for the next update.
        """
        flat, updates = logps.double(), 0 if state is None else state.updates
        ratios = [_ratios(side) for side in (flat.chosen_side, flat.rejected_side)]
        if self.strength == 0:
            return TokenWeights(*(torch.ones_like(r) for r in ratios)), state
        penalty = self.kappa * (min(1.0, updates / self.warm_up) if self.warm_up else 1.0)
        counts = [side.length.tolist() for side in (flat.chosen_side, flat.rejected_side)]
        rows = [
            (ratios[0][k, : counts[0][k]], ratios[1][k, : counts[1][k]], *_unmatched(ids[k])) for k in range(len(ids))
        ]
        if self.kind == "learned":
            before = {} if state is None else dict(state.masks)
            masks = [self._learned(before.get(key), row, penalty) for key, row in zip(keys, rows, strict=True)]
            state = LearnedMasks(before | dict(zip(keys, masks, strict=True)), updates + 1)
        elif self.kind == "exact":
            masks = [self._exact(row, penalty) for row in rows]
            state = LearnedMasks({}, updates + 1)
        elif self.kind == "contrast":
            masks = [(chosen, rejected) for _, _, chosen, rejected in rows]
        else:
            masks = _down_weighted(rows, geometry)
        sides = (_padded([m[k] for m in masks], like=ratios[k]) for k in (0, 1))
        return TokenWeights(*(1 + self.strength * (side - 1) for side in sides)), state

    def _exact(self, row: "_Row", penalty: float) -> "_Masks":
        gains = torch.cat([row[0], -row[1]])
        chosen, rejected = sparsest(gains, beta=self.beta, kappa=penalty).split([len(row[0]), len(row[1])])
        return chosen, rejected

    def _learned(self, before: "_Masks | None", row: "_Row", penalty: float) -> "_Masks":
        """One projected gradient step on −log σ(z) + κ Σ μ, starting from the softened alignment."""
        chosen, rejected = (0.5 + 0.5 * row[2], 0.5 + 0.5 * row[3]) if before is None else before
        z = self.beta * (chosen @ row[0] - rejected @ row[1])
        pull = self.beta * torch.sigmoid(-z)
        return (
            (chosen - self.rate * (penalty - pull * row[0])).clamp(0, 1),
            (rejected - self.rate * (penalty + pull * row[1])).clamp(0, 1),
        )


_Row = tuple[Tensor, Tensor, Tensor, Tensor]  # log-ratios of both responses; 1 at their contrast tokens
_Masks = tuple[Tensor, Tensor]


def _ratios(side: ResponseLogps) -> Float64[Tensor, "pair response_token"]:
    return side.at_tokens(side.token_logps, "log-probs") - side.at_tokens(side.ref_token_logps, "reference log-probs")


def _unmatched(ids: tuple[Sequence[int], Sequence[int]]) -> tuple[Tensor, Tensor]:
    chosen, rejected = (torch.tensor(side, dtype=torch.float64) for side in contrast_tokens(*ids))
    return chosen, rejected


def _down_weighted(rows: Sequence[_Row], geometry: SharedGeometry | None) -> list[_Masks]:
    if geometry is None:
        raise InputError("Masks of kind `lambda` need the gradient products of shared tokens: pass `geometry`.")
    weights = lambda_star(geometry.gram, geometry.shared_product, ratio=geometry.ratio).tolist()
    return [
        (torch.ones_like(row[2]), row[3] + weight * (1 - row[3])) for row, weight in zip(rows, weights, strict=True)
    ]


def _padded(masks: Sequence[Tensor], *, like: Float64[Tensor, "pair token"]) -> Float64[Tensor, "pair token"]:
    """Stack masks of different lengths, padded with zeros."""
    padded = torch.zeros_like(like)
    for row, mask in zip(padded, masks, strict=True):
        row[: len(mask)] = mask.to(row)
    return padded
