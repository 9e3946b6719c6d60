"""Log-probs of held-out pairs under the reference model, which may change during a run."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.gram.capture.restoring import same_random_state
from preflens.language_models.batch import collate
from preflens.language_models.model import LanguageModel, evaluating, flags_kept
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.evaluator import PairEvaluator
from preflens.training.probe.optimizer_preview import bit_sum
from preflens.training.trainer_protocol import TrainerLike, is_peft, unwrapped_model

ReferenceLogps = tuple[Float64[Tensor, " pair"], Float64[Tensor, " pair"]]


class HeldOutReference:
    """Scores held-out pairs under the reference model as it is at each call.

    Callbacks may change that model: TRL's `sync_ref_model` and the BEMA callback do. Scores are used again as long as
    its weights have the same bits.

    Args:
        trainer: a DPOTrainer, about to train.
        evaluator: scores pairs under the policy.
        pairs: all that will be scored.
        fresh: whether the policy has not been trained since the trainer was made.
    """

    def __init__(
        self, trainer: TrainerLike, evaluator: PairEvaluator, pairs: Sequence[TokenizedPair], *, fresh: bool
    ) -> None:
        self._trainer, self._pad_token_id = trainer, evaluator.scorer.pad_token_id
        self._logps: dict[int, tuple[float, float]] = {}  # by the identity of the pairs, which are fixed
        self._bits: list[int] = []
        has_adapter = is_peft(unwrapped_model(trainer))
        self._is_initial_policy = trainer.ref_model is None and not has_adapter
        self._is_fixed = self._is_initial_policy or bool(trainer.precompute_ref_logps)
        if not self._is_initial_policy:
            self._score(pairs)
        elif trainer.state.global_step == 0 and fresh:
            chosen, rejected = evaluator.logps(pairs).chunk(2)
            self._keep(pairs, chosen, rejected)

    def __call__(self, pairs: Sequence[TokenizedPair]) -> ReferenceLogps | None:
        """Return log-probs under the reference model.

        Args:
            pairs: some of the held-out pairs.

        Returns:
            Log-probs of the chosen and of the rejected responses, nats; None in a resumed run whose reference is the
            initial policy, which is gone.
        """
        if not self._is_fixed and self._bits != self._weights():
            self._logps.clear()
        missing = [pair for pair in pairs if id(pair) not in self._logps]
        if missing and self._is_initial_policy:
            return None
        self._score(missing)
        chosen, rejected = torch.tensor([self._logps[id(pair)] for pair in pairs], dtype=torch.float64).T
        return chosen, rejected

    def _score(self, pairs: Sequence[TokenizedPair]) -> None:
        """Score pairs as the trainer does, one at a time."""
        trainer = self._trainer
        model = trainer.model if trainer.ref_model is None else trainer.ref_model
        with ExitStack() as stack:
            stack.enter_context(evaluating(model))
            stack.enter_context(same_random_state())
            stack.enter_context(flags_kept(model))
            stack.enter_context(_without_checkpoints(trainer.model))
            for pair in pairs:
                batch = collate([pair], pad_token_id=self._pad_token_id, device=trainer.accelerator.device)
                inputs = {field.name: getattr(batch, field.name).long() for field in fields(batch)}
                self._keep([pair], *trainer.compute_ref_log_probs(model, inputs))
        if pairs and not self._is_fixed:
            self._bits = self._weights()

    def _keep(self, pairs: Sequence[TokenizedPair], chosen: Tensor, rejected: Tensor) -> None:
        for pair, w, l in zip(pairs, chosen.tolist(), rejected.tolist(), strict=True):  # noqa: E741  # the paper's letters
            self._logps[id(pair)] = w, l

    def _weights(self) -> list[int]:
        """Bit sums of the reference's weights; of a model with an adapter, of the weights that are not trained."""
        trainer = self._trainer
        if trainer.ref_model is not None:
            return [bit_sum(p) for p in trainer.ref_model.parameters()]
        return [bit_sum(p) for p in trainer.model.parameters() if not p.requires_grad]


@contextmanager
def _without_checkpoints(model: LanguageModel | nn.Module) -> Iterator[None]:
    """Switch gradient checkpointing off. transformers' method, which TRL uses, adds a hook each time."""
    switched: list[Any] = [
        module for module in model.modules() if getattr(module, "gradient_checkpointing", None) is True
    ]
    try:
        for module in switched:
            module.gradient_checkpointing = False
        yield
    finally:
        for module in switched:
            module.gradient_checkpointing = True
