"""A run of TRL's DPOTrainer as the probe sees it."""

import sys
from itertools import islice

from transformers import Trainer, TrainerCallback

from preflens.analysis.measurement.forward_passes import PolicyScorer
from preflens.errors import InputError, UnsupportedModelError
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.evaluator import PairEvaluator
from preflens.training.probe.held_out import tokenized_row
from preflens.training.probe.held_out_coefficients import HeldOutLoss
from preflens.training.probe.other_trainers import same_loss
from preflens.training.probe.step_probe import StepProbe
from preflens.training.source_rows import source_rows
from preflens.training.trainer_protocol import (
    TrainerLike,
    has_images,
    is_dpo_trainer,
    is_mitigated,
    tokenizer_of,
    unwrapped_model,
)

# Rows of training data that are numbered, so that a pair of a batch can be found again.
_NUMBERED = 50_000
# Rows of training data that are looked at for one whose responses have tokens.
_LOOKED_AT = 100


def make_session(
    trainer: TrainerLike,
    held_out: tuple[TokenizedPair, ...],
    *,
    memory: float | None,
    fresh: bool,
) -> StepProbe:
    """Look into a trainer for what the probe needs.

    Args:
        trainer: about to train.
        held_out: pairs that this process watches.
        memory: bytes for activations of a pass and for kept gradients, each; None for half of what is free.
        fresh: whether the policy has not been trained since the trainer was made.

    Returns:
        The session.

    Raises:
        UnsupportedModelError: the trainer is not one that can be watched, or its parameters are spread over devices.
    """
    model = unwrapped_model(trainer)
    scorer = PolicyScorer.of(model, tokenizer_of(trainer), held_out[:1] or _first_row(trainer))
    evaluator = PairEvaluator(scorer, trainer.accelerator.autocast, memory)
    loss = HeldOutLoss(trainer, evaluator, held_out, fresh=fresh)
    evaluator.limit = None  # found while gradients and optimizer state took no memory yet
    mitigated = is_mitigated(trainer)
    return StepProbe(model, evaluator, held_out, loss, mitigated)


def _first_row(trainer: TrainerLike) -> tuple[TokenizedPair, ...]:
    """The first pair of the training data with something to score, where they are tokenised rows."""
    length = getattr(trainer.args, "max_length", None)
    rows = (tokenized_row(row, length) for row in islice(iter(trainer.train_dataset), _LOOKED_AT))
    return tuple(islice((row for row in rows if min(row.scored_tokens) > 0), 1))


def check_trainer(trainer: object) -> TrainerLike:
    """Refuse trainers whose steps cannot be followed, by name.

    Args:
        trainer: about to train.

    Returns:
        The same trainer.

    Raises:
        UnsupportedModelError: it is such a one.
    """
    if not isinstance(trainer, Trainer) or not is_dpo_trainer(trainer):
        raise UnsupportedModelError(
            f"The probe watches TRL's `DPOTrainer`, from version 1.15 on. Found a `{type(trainer).__name__}`. "
            f"{_instead(trainer)}"
        )
    model = unwrapped_model(trainer)
    for trouble, found in {
        "pairs with images": has_images(trainer),
        "`torch_compile`": trainer.args.torch_compile,
        "the gradient scaler of `fp16`": trainer.args.fp16,
        "prompt learning (virtual tokens)": getattr(
            getattr(model, "active_peft_config", None), "is_prompt_learning", False
        ),
        "`truncation_mode` other than `keep_start`": getattr(trainer.args, "truncation_mode", "keep_start")
        != "keep_start",
    }.items():
        if found:
            raise UnsupportedModelError(f"The probe does not know {trouble}. Train without the probe, or without that.")
    for name in ("fsdp", "deepspeed"):
        if getattr(trainer, f"is_{name}_enabled", False):
            raise UnsupportedModelError(
                f"Under {name} no process holds whole parameters and gradients, so the probe cannot follow a step. Use "
                "one device or DDP, or train without the probe."
            )
    return trainer


def _instead(trainer: object) -> str:
    loss = same_loss(trainer)
    if loss is None:
        return "`PreferenceTrainer(objective=…)` is one, with any objective of `preflens objectives`."
    return f"`PreferenceTrainer(objective={loss!r})` is one, and trains this loss."


def number_rows(trainer: TrainerLike) -> dict[str, int]:
    """Number the rows of the training data by the ids of their pairs.

    Args:
        trainer: with tokenised data.

    Returns:
        Row numbers in the user's data; empty where they are not known, or data are many. Of equal rows the first.
    """
    data, max_length = trainer.train_dataset, getattr(trainer.args, "max_length", None)
    numbers = source_rows(data)
    if numbers is None or len(numbers) > _NUMBERED:
        return {}
    found: dict[str, int] = {}
    for number, row in zip(numbers, iter(data), strict=True):
        found.setdefault(tokenized_row(row, max_length).pair.id, number)
    return found


def calling_trainer(callback: TrainerCallback) -> Trainer:
    """Find the trainer that calls: transformers hands callbacks everything but the trainer itself.

    Args:
        callback: that is being called.

    Returns:
        The trainer.

    Raises:
        InputError: nobody up the stack is one that has this callback.
    """
    frame = sys._getframe(1)
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, Trainer) and callback in found.callback_handler.callbacks:
            return found
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    raise InputError("The probe found no trainer. Attach it by `PreflensCallback(...).attach(trainer)`.")
