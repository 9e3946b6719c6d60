"""Log-probs of held-out pairs under the reference model, which may move during a run."""

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
    """Scores held-out pairs under the reference model as it is when they are asked for.

    Callbacks may move it: TRL's `sync_ref_model` and the BEMA callback do. What was found is used again as long as its
    weights have the same bits.

    Args:
        trainer: a DPOTrainer, about to train.
        evaluator: scores pairs under the policy.
        pairs: all that will be asked for.
        fresh: whether the policy has not been trained since the trainer was made.
    """

    def __init__(
        self, trainer: TrainerLike, evaluator: PairEvaluator, pairs: Sequence[TokenizedPair], *, fresh: bool
    ) -> None:
        self._trainer, self._pad_token_id = trainer, evaluator.scorer.pad_token_id
        self._found: dict[int, tuple[float, float]] = {}  # by the pair's identity: they are fixed
        self._bits: list[int] = []
        adapter = is_peft(unwrapped_model(trainer))
        self._is_the_first_policy = trainer.ref_model is None and not adapter
        self._stays = self._is_the_first_policy or bool(trainer.precompute_ref_logps)
        if not self._is_the_first_policy:
            self._score(pairs)
        elif trainer.state.global_step == 0 and fresh:
            chosen, rejected = evaluator.logps(pairs).chunk(2)
            self._note(pairs, chosen, rejected)

    def __call__(self, pairs: Sequence[TokenizedPair]) -> ReferenceLogps | None:
        """Return log-probs under the reference model.

        Args:
            pairs: some of those that were announced.

        Returns:
            Of the chosen and of the rejected responses, nats; None where a resumed run has no reference any more.
        """
        if not self._stays and self._bits != self._weights():
            self._found.clear()
        missing = [pair for pair in pairs if id(pair) not in self._found]
        if missing and self._is_the_first_policy:
            return None
        self._score(missing)
        chosen, rejected = torch.tensor([self._found[id(pair)] for pair in pairs], dtype=torch.float64).T
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
                self._note([pair], *trainer.compute_ref_log_probs(model, inputs))
        if pairs and not self._stays:
            self._bits = self._weights()

    def _note(self, pairs: Sequence[TokenizedPair], chosen: Tensor, rejected: Tensor) -> None:
        for pair, w, l in zip(pairs, chosen.tolist(), rejected.tolist(), strict=True):  # noqa: E741  # the paper's letters
            self._found[id(pair)] = w, l

    def _weights(self) -> list[int]:
        """What the reference is made of: its own weights; of a model with an adapter, those that are not trained."""
        trainer = self._trainer
        if trainer.ref_model is not None:
            return [bit_sum(p) for p in trainer.ref_model.parameters()]
        return [bit_sum(p) for p in trainer.model.parameters() if not p.requires_grad]


@contextmanager
def _without_checkpoints(model: LanguageModel | nn.Module) -> Iterator[None]:
    """TRL does it by transformers' switch, which leaves another hook on the embeddings every time."""
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
