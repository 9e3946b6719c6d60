"""Trainers as this package uses them, and every private name of TRL and transformers that it reads.

TRL has no type annotations, so the protocols say which public attributes are used. `PreferenceTrainer` also overrides
four private names of its parents: the methods `_prepare_dataset`, `_compute_loss` and `_load_from_checkpoint`, and the
attribute `_tag_names`. They cannot be moved to this file, because an override has to be in the class.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, Protocol, TypeGuard, runtime_checkable

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, TrainerCallback
from trl.trainer import utils as trl_utils

from preflens.language_models.batch import PairBatch
from preflens.language_models.model import LanguageModel
from preflens.objectives.schedule import Schedule
from preflens.types import HeadInput

LogSplit = Literal["train", "eval"]


@runtime_checkable
class TrainerLike(Protocol):
    """A TRL `DPOTrainer`, from version 1.15 on.

    Attributes:
        model: the policy, perhaps wrapped for several devices.
        ref_model: the reference model; None where it is the policy without its adapter, or the initial policy.
        accelerator: accelerate's.
        args: the `DPOConfig`.
        state: step, log and processes.
        processing_class: a tokenizer, or a processor that holds one.
        train_dataset: tokenized training pairs.
        eval_dataset: tokenized evaluation pairs, several such by name, or None.
        optimizer: torch's in accelerate's wrapper; None before training.
        precompute_ref_logps: whether reference log-probs are columns of the data.
        is_fsdp_enabled: whether FSDP shards the parameters.
        is_deepspeed_enabled: whether DeepSpeed shards the parameters.
    """

    model: Any  # Any: wrappers of accelerate, and configurations of TRL, are not annotated
    ref_model: Any
    accelerator: Any
    args: Any
    state: Any
    processing_class: Any
    train_dataset: Any
    eval_dataset: Any
    optimizer: Any
    precompute_ref_logps: bool
    is_fsdp_enabled: bool
    is_deepspeed_enabled: bool

    def compute_loss_context_manager(self) -> AbstractContextManager[Any]:
        """Return the autocast context of a training step."""

    def compute_ref_log_probs(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return reference log-probs of the chosen and of the rejected responses, nats."""

    def add_callback(self, callback: TrainerCallback) -> None:
        """Add a callback."""


@runtime_checkable
class ObjectiveTrainerLike(TrainerLike, Protocol):
    """A `PreferenceTrainer`, as the modules that it imports use it.

    Attributes:
        objective: what it trains, by step; None for TRL's own loss.
        aux_loss_enabled: whether a router loss is added.
        use_weighting: whether TRL's own WPO weighting is on.
        loss_types: of TRL's configuration.
        f_divergence_type: of TRL's configuration.
    """

    objective: Schedule | None
    aux_loss_enabled: bool
    use_weighting: bool
    loss_types: Any  # Any: lists of texts or of TRL's enumerations
    f_divergence_type: Any

    def own_pass(self, batch: PairBatch) -> HeadInput | Tensor:
        """Run a forward pass up to the head, or to log-probs where the head is not a plain linear layer."""

    def logps_of(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return log-probs as training computes them, chosen responses first, nats."""


def is_dpo_trainer(trainer: object) -> TypeGuard[TrainerLike]:
    """Return whether a trainer is TRL's `DPOTrainer`, from version 1.15 on, by what it has."""
    return hasattr(trainer, "_metrics") and hasattr(trainer, "loss_types")


def objective_of(trainer: TrainerLike) -> Schedule | None:
    """Return what a `PreferenceTrainer` trains; None for TRL's own loss."""
    objective: Schedule | None = getattr(trainer, "objective", None)
    return objective


def is_mitigated(trainer: TrainerLike) -> bool:
    """Return whether a `PreferenceTrainer` changes its steps by a mitigation."""
    return getattr(trainer, "mitigation", None) is not None


def unwrapped_model(trainer: TrainerLike) -> LanguageModel:
    """Return the policy without wrappers for several devices."""
    model: LanguageModel = trainer.accelerator.unwrap_model(trainer.model)
    return model


def is_peft(model: nn.Module) -> bool:
    """Return whether a model has an adapter of PEFT."""
    return hasattr(model, "peft_config")


def optimizer_of(optimizer: object) -> object:
    """Return the optimizer inside accelerate's wrapper, or the optimizer itself where there is no wrapper."""
    return getattr(optimizer, "optimizer", optimizer)


def tokenizer_of(trainer: TrainerLike) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a run.

    Args:
        trainer: of vision-language models too, whose `processing_class` is a processor with a tokenizer inside.

    Returns:
        The tokenizer.
    """
    tokenizer: PreTrainedTokenizerBase = getattr(trainer, "_tokenizer", trainer.processing_class)
    return tokenizer


def has_images(trainer: TrainerLike) -> bool:
    """Return whether TRL found images in the training data."""
    return bool(getattr(trainer, "_is_vision_dataset", False))


def prepared_inputs(trainer: TrainerLike, inputs: dict[str, Any]) -> dict[str, Tensor]:
    """Return a batch on the device of the model, as a training step gets it."""
    prepared: dict[str, Tensor] = trainer._prepare_inputs(inputs)  # type: ignore[attr-defined]  # private
    return prepared


def learning_rate_of(trainer: TrainerLike) -> float:
    """Return the learning rate of the step in progress."""
    return float(trainer._get_learning_rate())  # type: ignore[attr-defined]  # private


def micro_batches_of_update(trainer: TrainerLike) -> int:
    """Return how many micro-batches share the update in progress; known only during training."""
    return int(trainer.current_gradient_accumulation_steps)  # type: ignore[attr-defined]  # set by the training loop


def log_metric(trainer: TrainerLike, name: str, value: float, *, split: LogSplit = "train") -> None:
    """Add a value to TRL's log, which writes the mean of all values since the last time.

    Args:
        trainer: whose log.
        name: of the metric.
        value: of one micro-batch or step.
        split: the log of training, or of evaluation.
    """
    trainer._metrics[split][name].append(value)  # type: ignore[attr-defined]  # private


def log_token_count(trainer: TrainerLike, tokens: int, *, split: LogSplit) -> None:
    """Add tokens to TRL's count of trained tokens, and log the count.

    Args:
        trainer: whose log.
        tokens: of this micro-batch, over all processes; 0 in evaluation.
        split: the log of training, or of evaluation.
    """
    trainer._total_train_tokens += tokens // trainer._tp_size  # type: ignore[attr-defined]  # private
    trainer._metrics[split]["num_tokens"] = [trainer._total_train_tokens]  # type: ignore[attr-defined]


def head_function() -> Any:  # noqa: ANN401  # TRL's autograd function
    """Return the autograd function that TRL's fused head calls."""
    return trl_utils._ChunkedLogProbFunction


@contextmanager
def replaced_head_function(replacement: object) -> Iterator[None]:
    """Let TRL's fused head call another function in place of its autograd function.

    Args:
        replacement: has `apply` with the same arguments and results.

    Yields:
        Nothing.
    """
    original = trl_utils._ChunkedLogProbFunction
    trl_utils._ChunkedLogProbFunction = replacement
    try:
        yield
    finally:
        trl_utils._ChunkedLogProbFunction = original
