"""The type of a language model, its context length and device, and contexts that restore modes and flags."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from preflens.errors import InputError, UnsupportedModelError
from preflens.language_models.model_names import first_line
from preflens.language_models.quantized import kept_from_packing

# A PEFT model is not a PreTrainedModel, but forwards attributes to the wrapped one; for the type checker it is one.
if TYPE_CHECKING:
    LanguageModel = PreTrainedModel
else:
    LanguageModel = nn.Module

Reference = LanguageModel | Literal["self", "none", "adapter-off", "adapter-copy"]


def context_length(model: LanguageModel) -> int | None:
    """Return the number of positions of a model, or None if its configuration has none.

    Args:
        model: a language model, with or without an adapter.

    Returns:
        Tokens.
    """
    positions: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return positions


@contextmanager
def flags_kept(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Restore `requires_grad` of every parameter at exit.

    PEFT sets it whenever an adapter is enabled or disabled: to False on disabled weights, and to True on every weight
    of the enabled adapter, including those that were frozen on purpose.

    Args:
        model: the model.

    Yields:
        A function that restores the flags at once.
    """
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}

    def restore() -> None:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)

    try:
        yield restore
    finally:
        restore()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode; restore the mode of every module at exit.

    Args:
        model: the model; quantized layers do not pack their weights inside.

    Yields:
        Nothing.
    """
    modes = {module: module.training for module in model.modules()}
    with kept_from_packing(model):
        try:
            model.eval()
            yield
        finally:
            for module, training in modes.items():
                module.training = training


def resolve_device(device: str) -> torch.device:
    """Return the device for `auto` or a device's name.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …

    Returns:
        The device.

    Raises:
        InputError: the device does not exist or cannot be used.
    """
    try:
        resolved = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"`device={device}` cannot be used: {first_line(error)}.", arguments=["device"]) from None
    return resolved


def without_adapter_wrapper(model: LanguageModel) -> LanguageModel:
    """Return the model inside a PEFT wrapper, with its replaced layers; any other model unchanged.

    Args:
        model: a language model.

    Returns:
        The wrapped model.
    """
    unwrap = getattr(model, "get_base_model", None)
    base: LanguageModel = model if unwrap is None else unwrap()
    return base


def check_experts(model: LanguageModel) -> None:
    """Raise if experts are computed by a function without float64.

    Args:
        model: a language model.

    Raises:
        UnsupportedModelError: its forward pass would fail.
    """
    implementations: dict[str, str | None] = getattr(model, "get_experts_implementation", dict)()
    if model.dtype == torch.float64 and "grouped_mm" in implementations.values():
        raise UnsupportedModelError(
            f"The experts of this `{type(model).__name__}` are multiplied by `grouped_mm`, which takes no float64. "
            'Call `model.set_experts_implementation("eager")`, or compute in float32.'
        )


def check_rows_are_independent(model: LanguageModel) -> None:
    """Raise if the training loss of a model couples the rows of a batch in addition to the log-probs.

    Args:
        model: a language model.

    Raises:
        UnsupportedModelError: router losses are enabled.
    """
    if getattr(model.config.get_text_config(), "output_router_logits", False):
        raise UnsupportedModelError(
            f"The configuration of this `{type(model).__name__}` has `output_router_logits` on: its auxiliary loss for "
            "balancing experts is taken over the whole batch, so a response has no gradient of its own in it. Set "
            "`model.config.output_router_logits = False`."
        )
