"""What a language model is to us: its type, its context, its device, its modes and flags."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from preflens.errors import InputError, UnsupportedModelError
from preflens.language_models.model_names import first_line
from preflens.language_models.quantized import kept_from_packing

# A PEFT model is no PreTrainedModel but passes everything on to the one inside; for the type checker it is one.
if TYPE_CHECKING:
    LanguageModel = PreTrainedModel
else:
    LanguageModel = nn.Module

Reference = LanguageModel | Literal["self", "none", "adapter-off", "adapter-copy"]


def context_length(model: LanguageModel) -> int | None:
    """Return how many positions a model has, or None where its configuration does not say.

    Args:
        model: a language model, with or without an adapter.

    Returns:
        Tokens.
    """
    positions: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return positions


@contextmanager
def flags_kept(model: nn.Module) -> Iterator[Callable[[], None]]:
    """Put `requires_grad` of every parameter back afterwards, whatever was done to it meanwhile.

    PEFT sets it whenever an adapter is switched: to False on what is switched off, and to True on every weight of the
    adapter that is switched on, those that were frozen on purpose among them.

    Args:
        model: the model.

    Yields:
        A function that puts the flags back at once.
    """
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}

    def put_back() -> None:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)

    try:
        yield put_back
    finally:
        put_back()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode for a while; every module's own mode comes back.

    Args:
        model: the model; quantised layers do not pack their weights meanwhile.

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
    """Turn `auto` or a device's name into a device.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …

    Returns:
        The device.

    Raises:
        InputError: there is no such device.
    """
    try:
        chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"`device={device}` cannot be used: {first_line(error)}.", arguments=["device"]) from None
    return chosen


def without_adapter_wrapper(model: LanguageModel) -> LanguageModel:
    """Return the model that a PEFT wrapper is around, its layers replaced in place; any other model as it is.

    Args:
        model: a language model.

    Returns:
        The model inside.
    """
    unwrap = getattr(model, "get_base_model", None)
    inside: LanguageModel = model if unwrap is None else unwrap()
    return inside


def check_experts(model: LanguageModel) -> None:
    """Refuse experts that are computed by a function that takes no float64.

    Args:
        model: a language model.

    Raises:
        UnsupportedModelError: its forward pass would fail.
    """
    ways: dict[str, str | None] = getattr(model, "get_experts_implementation", dict)()
    if model.dtype == torch.float64 and "grouped_mm" in ways.values():
        raise UnsupportedModelError(
            f"The experts of this `{type(model).__name__}` are multiplied by `grouped_mm`, which takes no float64. "
            'Call `model.set_experts_implementation("eager")`, or compute in float32.'
        )


def check_rows_are_independent(model: LanguageModel) -> None:
    """Refuse a model whose training loss couples the rows of a batch beside the log-probs.

    Args:
        model: a language model.

    Raises:
        UnsupportedModelError: its router losses are switched on.
    """
    if getattr(model.config.get_text_config(), "output_router_logits", False):
        raise UnsupportedModelError(
            f"The configuration of this `{type(model).__name__}` has `output_router_logits` on: its auxiliary loss for "
            "balancing experts is taken over the whole batch, so a response has no gradient of its own in it. Set "
            "`model.config.output_router_logits = False`."
        )
