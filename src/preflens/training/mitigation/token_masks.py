"""Token masks in training: which tokens of a batch take part in its loss."""

from collections.abc import Callable

import torch
from torch import Tensor

from preflens.gram import pair_gram
from preflens.gram.capture.forward import Forward
from preflens.language_models.batch import PairBatch
from preflens.language_models.model import LanguageModel
from preflens.mitigations import LearnedMasks, SharedGeometry, TokenMask, masked_logps
from preflens.mitigations.kinds.token_weights import contrast_tokens
from preflens.objectives.kinds.base import Objective
from preflens.pair_logps import PairLogps
from preflens.training.probe.micro_batch import pair_id


class MaskedSteps:
    """Masks the log-probs of a run's steps.

    Args:
        mitigation: chooses the masks.

    Attributes:
        state: learned masks.
        kept: share of the tokens' weight that the last batch kept.
    """

    def __init__(self, mitigation: TokenMask) -> None:
        self._mitigation = mitigation
        self.state: LearnedMasks | None = None
        self.kept = 1.0

    def masked(
        self,
        logps: PairLogps,
        batch: PairBatch,
        objective: Objective,
        *,
        model: LanguageModel,
        forward: Callable[[PairBatch], Forward],
    ) -> PairLogps:
        """Weigh the tokens of a batch.

        Args:
            logps: with those of the tokens.
            batch: the same pairs.
            objective: the loss, for λ*.
            model: for λ*.
            forward: makes a pass over a batch, for λ*.

        Returns:
            What the loss is computed from.
        """
        ids = _responses(batch)
        pairs = list(zip(*(part for part in (ids[: len(ids) // 2], ids[len(ids) // 2 :])), strict=True))
        keys = [pair_id(_prompt(batch, k), tuple(w), tuple(l)) for k, (w, l) in enumerate(pairs)]  # noqa: E741  # the paper's letters
        geometry = None
        if self._mitigation.needs_geometry:
            d = objective.coefficients(logps.double())
            gram = pair_gram(model, forward(batch), dropout=True)
            shared = _shared_product(model, batch, forward)
            geometry = SharedGeometry(gram, shared, (d.chosen / d.rejected).cpu())
        weights, self.state = self._mitigation.apply(logps, pairs, keys=keys, state=self.state, geometry=geometry)
        there = [side.length.sum() for side in (logps.chosen_side, logps.rejected_side)]
        self.kept = float((weights.chosen.sum() + weights.rejected.sum()) / sum(there))
        return masked_logps(logps, weights)


def _shared_product(model: LanguageModel, batch: PairBatch, forward: Callable[[PairBatch], Forward]) -> Tensor:
    """⟨g_w, S⟩ of each pair: a pass in which only the shared tokens of rejected responses are scored."""
    ids, half = _responses(batch), len(batch.input_ids) // 2
    scored = batch.completion_mask.clone()
    empty = []
    for k in range(half):
        _, alone = contrast_tokens(ids[k], ids[half + k])
        row = scored[half + k]
        places = row.nonzero()[:, 0]
        empty.append(all(alone))
        if not empty[-1]:
            row[places[torch.tensor(alone, device=places.device)]] = False
    product = pair_gram(model, forward(PairBatch(batch.input_ids, batch.attention_mask, scored)), dropout=True)
    return product.inner_product.masked_fill(torch.tensor(empty), 0.0)


def _responses(batch: PairBatch) -> list[list[int]]:
    rows = zip(batch.input_ids.cpu(), batch.completion_mask.cpu(), strict=True)
    return [ids[scored].tolist() for ids, scored in rows]


def _prompt(batch: PairBatch, pair: int) -> tuple[int, ...]:
    before = batch.attention_mask[pair] & ~batch.completion_mask[pair]
    return tuple(batch.input_ids[pair][before].tolist())
