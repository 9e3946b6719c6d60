"""Held-out pairs that a cone keeps from harm: their gradients stand beside those of the pairs that are trained on."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from preflens.errors import InputError, UnsupportedModelError
from preflens.gram.capture.restoring import same_random_state
from preflens.gram.training_step.deferred import DeferredGradients, defer_weighting
from preflens.language_models.batch import PairBatch, collate
from preflens.language_models.loading import padding_token_id
from preflens.language_models.model import evaluating
from preflens.training.probe.held_out import ProbePairs, held_out_pairs
from preflens.types import HeadInput


class ConstraintPairs:
    """Takes the gradients of fixed pairs at the weights of a step.

    Args:
        batch: the pairs, in one pass.
        forward: the pass up to the head.
        autocast: makes the context in which the model computes as it does in training.
    """

    def __init__(
        self,
        batch: PairBatch,
        forward: Callable[[PairBatch], HeadInput | Tensor],
        autocast: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._batch, self._forward, self._autocast = batch, forward, autocast

    def books(self, model: nn.Module) -> DeferredGradients:
        """Run one forward and one activation-only backward pass; nothing is written to any `param.grad`.

        Args:
            model: in training; its modes and the random state come back.

        Returns:
            Books in which no loss has sent anything: their coefficients are zero.

        Raises:
            UnsupportedModelError: the model has no plain output head.
        """
        with defer_weighting(model, pairs=False) as books, evaluating(model), same_random_state(), torch.enable_grad():
            with self._autocast():
                outcome = self._forward(self._batch)
            if not isinstance(outcome, HeadInput):
                raise UnsupportedModelError("`mitigation_probe` needs a model with a plain output head.")
            books.on_forward(outcome)
            with torch.no_grad(), torch.autocast(outcome.hidden.device.type, enabled=False):
                scored = books.score_head(outcome)
            torch.autograd.backward(outcome.hidden, scored.hidden_gradient)
            books.coefficients = torch.zeros_like(scored.rows.logps())
        return books


def check_guard(mitigation: str | None, guard: object) -> None:
    """Refuse held-out pairs that nobody would guard.

    Args:
        mitigation: its name, or None.
        guard: the pairs, or None.

    Raises:
        InputError: there are pairs, and the mitigation is another one.
    """
    if guard is not None and mitigation != "cone":
        raise InputError("`mitigation_probe` is for the mitigation `cone`, which keeps other pairs from harm too.")


def guarded_pairs(trainer: Any, wanted: ProbePairs) -> ConstraintPairs:  # noqa: ANN401  # it imports us
    """Find the pairs that no step is to harm.

    Args:
        trainer: a `PreferenceTrainer`.
        wanted: a number of rows of its evaluation data; or a file, folder or hub id; or rows.

    Returns:
        The pairs.

    Raises:
        InputError: there are none, or they cannot be used.
    """
    tokenizer = trainer.processing_class
    pairs = held_out_pairs(wanted, trainer.eval_dataset, tokenizer, max_length=trainer.args.max_length)
    if not pairs:
        raise InputError("`mitigation_probe` found no pairs: give an `eval_dataset`, or the pairs themselves.")
    batch = collate(pairs, pad_token_id=padding_token_id(tokenizer), device=trainer.accelerator.device)
    return ConstraintPairs(batch, trainer.own_pass, trainer.compute_loss_context_manager)
