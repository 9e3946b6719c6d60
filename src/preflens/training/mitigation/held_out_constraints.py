"""Held-out pairs added as constraints of the `cone` mitigation."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from preflens.errors import InputError, UnsupportedModelError
from preflens.gram.capture.restoring import same_random_state
from preflens.gram.training_step.deferred import DeferredGradients, defer_weighting
from preflens.language_models.batch import PairBatch, collate
from preflens.language_models.loading import padding_token_id
from preflens.language_models.model import evaluating
from preflens.training.probe.held_out import ProbePairs, held_out_pairs
from preflens.training.trainer_protocol import ObjectiveTrainerLike
from preflens.types import HeadInput


class ConstraintPairs:
    """Fixed pairs whose per-response gradients are computed at every step.

    Args:
        batch: the pairs, in one forward pass.
        forward: the pass up to the head.
        autocast: makes the context in which the model computes as in training.
    """

    def __init__(
        self,
        batch: PairBatch,
        *,
        forward: Callable[[PairBatch], HeadInput | Tensor],
        autocast: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._batch, self._forward, self._autocast = batch, forward, autocast

    def gradients(self, model: nn.Module) -> DeferredGradients:
        """Run one forward and one activation-only backward pass; nothing is written to any `param.grad`.

        Args:
            model: in training; its modes and the random state are restored.

        Returns:
            Gradients with all coefficients zero.

        Raises:
            UnsupportedModelError: the model has no plain output head.
        """
        with (
            defer_weighting(model, pairs=False) as gradients,
            evaluating(model),
            same_random_state(),
            torch.enable_grad(),
        ):
            with self._autocast():
                output = self._forward(self._batch)
            if not isinstance(output, HeadInput):
                raise UnsupportedModelError("`mitigation_probe` needs a model with a plain output head.")
            gradients.on_forward(output)
            with torch.no_grad(), torch.autocast(output.hidden.device.type, enabled=False):
                scored = gradients.score_head(output)
            torch.autograd.backward(output.hidden, scored.hidden_gradient)
            gradients.coefficients = torch.zeros_like(scored.rows.logps())
        return gradients


def check_constraints(mitigation: str | None, constraints: object) -> None:
    """Refuse constraint pairs for a mitigation that has no constraints.

    Args:
        mitigation: its name, or None.
        constraints: the pairs, or None.

    Raises:
        InputError: there are pairs, and the mitigation is not `cone`.
    """
    if constraints is not None and mitigation != "cone":
        raise InputError(
            "`mitigation_probe` is for the mitigation `cone`, which can add held-out pairs as constraints."
        )


def constraint_pairs(trainer: ObjectiveTrainerLike, source: ProbePairs) -> ConstraintPairs:
    """Read the pairs that no step is to harm.

    Args:
        trainer: a `PreferenceTrainer`.
        source: a number of rows of its evaluation data; or a file, folder or hub id; or rows.

    Returns:
        The pairs.

    Raises:
        InputError: there are none, or they cannot be used.
    """
    tokenizer = trainer.processing_class
    pairs = held_out_pairs(source, trainer.eval_dataset, tokenizer, max_length=trainer.args.max_length)
    if not pairs:
        raise InputError("`mitigation_probe` found no pairs: give an `eval_dataset`, or the pairs themselves.")
    batch = collate(pairs, pad_token_id=padding_token_id(tokenizer), device=trainer.accelerator.device)
    return ConstraintPairs(batch, forward=trainer.own_pass, autocast=trainer.compute_loss_context_manager)
