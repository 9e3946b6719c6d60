"""Token masks in training: weight the tokens of a batch before its loss is computed."""

from collections.abc import Callable, Mapping
from functools import partial

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
from preflens.training.mitigation.state import MitigationState
from preflens.training.mitigation.strategy import Strategy, StrategyContext, TrainingStep
from preflens.training.probe.micro_batch import pair_id
from preflens.training.trainer_protocol import unwrapped_model


class TokenMasking:
    """Weights the tokens of every micro-batch.

    Args:
        mitigation: computes the weights.
        context: where it works.

    Attributes:
        needs_response_rows: false.
        state: learned masks.
        capture: None.
        repeats: false.
        kept: share of the tokens' weight that the last micro-batch kept.
    """

    needs_response_rows = False
    capture = None
    repeats = False

    def __init__(self, mitigation: TokenMask, context: StrategyContext) -> None:
        self._mitigation, self._trainer = mitigation, context.trainer
        self.state: LearnedMasks | None = None
        self.kept = 1.0

    def prepare(self, batch: PairBatch) -> Strategy:  # noqa: ARG002  # the interface
        """Return this strategy, which works for every model."""
        return self

    def restore(self, state: MitigationState) -> None:
        """Continue with saved masks."""
        if isinstance(state, LearnedMasks):
            self.state = state

    def run(self, step: TrainingStep) -> tuple[Tensor, Mapping[str, float]]:
        """Run TRL's training step, whose loss is that of weighted tokens."""
        loss = step()
        return loss, {"mitigation/kept": self.kept}

    def loss(self, objective: Objective, logps: PairLogps, batch: PairBatch) -> Tensor:
        """Return the loss of the weighted tokens."""
        masked = self.masked(
            logps,
            batch,
            objective,
            model=unwrapped_model(self._trainer),
            forward=lambda pairs: partial(self._trainer.own_pass, pairs),
        )
        return objective.loss(masked).mean()

    def masked(
        self,
        logps: PairLogps,
        batch: PairBatch,
        objective: Objective,
        *,
        model: LanguageModel,
        forward: Callable[[PairBatch], Forward],
    ) -> PairLogps:
        """Weight the tokens of a batch.

        Args:
            logps: log-probs of the tokens among them.
            batch: the same pairs.
            objective: its coefficients enter λ*.
            model: its gradients enter λ*.
            forward: makes a forward pass over a batch, for λ*.

        Returns:
            Log-probs of the weighted tokens, from which the loss is computed.
        """
        ids = _response_ids(batch)
        pairs = list(zip(ids[: len(ids) // 2], ids[len(ids) // 2 :], strict=True))
        keys = [
            pair_id(_prompt_ids(batch, k), tuple(chosen), tuple(rejected)) for k, (chosen, rejected) in enumerate(pairs)
        ]
        geometry = None
        if self._mitigation.needs_geometry:
            coefficients = objective.coefficients(logps.double())
            gram = pair_gram(model, forward(batch), dropout=True)
            shared = _shared_product(model, batch, forward)
            geometry = SharedGeometry(gram, shared, (coefficients.chosen / coefficients.rejected).cpu())
        weights, self.state = self._mitigation.apply(logps, pairs, keys=keys, state=self.state, geometry=geometry)
        tokens = [side.length.sum() for side in (logps.chosen_side, logps.rejected_side)]
        self.kept = float((weights.chosen.sum() + weights.rejected.sum()) / sum(tokens))
        return masked_logps(logps, weights)


def _shared_product(model: LanguageModel, batch: PairBatch, forward: Callable[[PairBatch], Forward]) -> Tensor:
    """⟨g_w, S⟩ of each pair: a pass in which only the shared tokens of rejected responses are scored."""
    ids, half = _response_ids(batch), len(batch.input_ids) // 2
    scored = batch.completion_mask.clone()
    nothing_shared = []
    for k in range(half):
        _, is_unshared = contrast_tokens(ids[k], ids[half + k])
        row = scored[half + k]
        positions = row.nonzero()[:, 0]
        nothing_shared.append(all(is_unshared))
        if not nothing_shared[-1]:
            row[positions[torch.tensor(is_unshared, device=positions.device)]] = False
    product = pair_gram(model, forward(PairBatch(batch.input_ids, batch.attention_mask, scored)), dropout=True)
    return product.inner_product.masked_fill(torch.tensor(nothing_shared), 0.0)


def _response_ids(batch: PairBatch) -> list[list[int]]:
    rows = zip(batch.input_ids.cpu(), batch.completion_mask.cpu(), strict=True)
    return [ids[is_response].tolist() for ids, is_response in rows]


def _prompt_ids(batch: PairBatch, pair: int) -> tuple[int, ...]:
    is_prompt = batch.attention_mask[pair] & ~batch.completion_mask[pair]
    return tuple(batch.input_ids[pair][is_prompt].tolist())
