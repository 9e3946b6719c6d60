"""What a language model is to us: its type, its context, its device, and itself without its adapter."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from preflens.errors import InputError
from preflens.language_models.names import first_line

# A PEFT model is no PreTrainedModel but passes everything on to the one inside; for the type checker it is one.
if TYPE_CHECKING:
    LanguageModel = PreTrainedModel
else:
    LanguageModel = nn.Module

Reference = LanguageModel | Literal["self", "none", "adapter-off"]


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
def adapter_off(model: LanguageModel) -> Iterator[LanguageModel]:
    """Switch the adapter of a PEFT model off for a while.

    Args:
        model: a PEFT model.

    Yields:
        The same model, computing what its base computes.

    Raises:
        InputError: the model carries no adapter.
    """
    disable = getattr(model, "disable_adapter", None)
    if disable is None:
        raise InputError("`--reference adapter-off` needs a model with an adapter; pass `--adapter`.")
    with disable():
        yield model


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
        raise InputError(f"`--device {device}` cannot be used: {first_line(error)}.") from None
    return chosen
