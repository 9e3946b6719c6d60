"""Read from TRL's DPOTrainer what the probe needs."""

import sys
from itertools import islice

from transformers import Trainer, TrainerCallback

from preflens.analysis.measurement.forward_passes import PolicyScorer
from preflens.errors import InputError, UnsupportedModelError
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.evaluator import PairEvaluator
from preflens.training.probe.held_out import tokenized_row
from preflens.training.probe.held_out_coefficients import HeldOutLoss
from preflens.training.probe.other_trainers import equivalent_objective
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

# Training data of more rows are not numbered: the ids of all pairs would have to be computed.
_MAX_NUMBERED_ROWS = 50_000
# Rows of training data that are searched for one whose responses have tokens.
_SEARCHED_ROWS = 100


def make_step_probe(
    trainer: TrainerLike,
    held_out: tuple[TokenizedPair, ...],
    *,
    memory: float | None,
    fresh: bool,
) -> StepProbe:
    """Make the probe of a trainer's steps.

    Args:
        trainer: about to train.
        held_out: the fixed pairs of this process.
        memory: bytes for activations of a pass and for kept gradients, each; None for half of what is free.
        fresh: whether the policy has not been trained since the trainer was made.

    Returns:
        The probe.

    Raises:
        UnsupportedModelError: the parameters are spread over devices.
    """
    model = unwrapped_model(trainer)
    scorer = PolicyScorer.of(model, tokenizer_of(trainer), held_out[:1] or _first_row(trainer))
    evaluator = PairEvaluator(scorer, trainer.accelerator.autocast, memory)
    loss = HeldOutLoss(trainer, evaluator, held_out, fresh=fresh)
    evaluator.limit = None  # it was determined while gradients and optimizer state took no memory yet
    return StepProbe(
        model=model, evaluator=evaluator, held_out=held_out, coefficients=loss, mitigated=is_mitigated(trainer)
    )


def _first_row(trainer: TrainerLike) -> tuple[TokenizedPair, ...]:
    """The first pair of the training data whose responses have scored tokens, if any."""
    length = getattr(trainer.args, "max_length", None)
    rows = (tokenized_row(row, length) for row in islice(iter(trainer.train_dataset), _SEARCHED_ROWS))
    return tuple(islice((row for row in rows if min(row.scored_tokens) > 0), 1))


def check_trainer(trainer: object) -> TrainerLike:
    """Refuse trainers whose steps the probe does not support.

    Args:
        trainer: about to train.

    Returns:
        The same trainer.

    Raises:
        UnsupportedModelError: it is one of them; the message names why.
    """
    if not isinstance(trainer, Trainer) or not is_dpo_trainer(trainer):
        raise UnsupportedModelError(
            f"The probe supports TRL's `DPOTrainer`, from version 1.15 on. Found a `{type(trainer).__name__}`. "
            f"{_suggestion(trainer)}"
        )
    model = unwrapped_model(trainer)
    for feature, is_used in {
        "pairs with images": has_images(trainer),
        "`torch_compile`": trainer.args.torch_compile,
        "the gradient scaler of `fp16`": trainer.args.fp16,
        "prompt learning (virtual tokens)": getattr(
            getattr(model, "active_peft_config", None), "is_prompt_learning", False
        ),
        "`truncation_mode` other than `keep_start`": getattr(trainer.args, "truncation_mode", "keep_start")
        != "keep_start",
    }.items():
        if is_used:
            raise UnsupportedModelError(
                f"The probe does not support {feature}. Train without the probe, or without it."
            )
    for name in ("fsdp", "deepspeed"):
        if getattr(trainer, f"is_{name}_enabled", False):
            raise UnsupportedModelError(
                f"Under {name} no process holds complete parameters and gradients, so the probe cannot forecast a "
                "step. Use one device or DDP, or train without the probe."
            )
    return trainer


def _suggestion(trainer: object) -> str:
    loss = equivalent_objective(trainer)
    if loss is None:
        return "`PreferenceTrainer(objective=…)` is one, with any objective of `preflens objectives`."
    return f"`PreferenceTrainer(objective={loss!r})` is one, and trains this loss."


def number_rows(trainer: TrainerLike) -> dict[str, int]:
    """Number the rows of the training data by the ids of their pairs.

    Args:
        trainer: with tokenized data.

    Returns:
        Row numbers in the user's data, of equal rows the first; empty where they are not known, and for more than
        50,000 rows.
    """
    data, max_length = trainer.train_dataset, getattr(trainer.args, "max_length", None)
    numbers = source_rows(data)
    if numbers is None or len(numbers) > _MAX_NUMBERED_ROWS:
        return {}
    by_id: dict[str, int] = {}
    for number, row in zip(numbers, iter(data), strict=True):
        by_id.setdefault(tokenized_row(row, max_length).pair.id, number)
    return by_id


def calling_trainer(callback: TrainerCallback) -> Trainer:
    """Find the trainer that calls a callback, which transformers does not pass to it.

    Args:
        callback: being called.

    Returns:
        The trainer.

    Raises:
        InputError: no caller on the stack is a trainer with this callback.
    """
    frame = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Trainer) and callback in caller.callback_handler.callbacks:
            return caller
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    raise InputError("The probe found no trainer. Attach it by `PreflensCallback(...).attach(trainer)`.")
