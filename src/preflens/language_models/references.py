"""Where reference log-probs come from: TRL's rule, and the model as each reference has it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any, Literal

from preflens.errors import InputError
from preflens.language_models.adapters import has_adapter, uncopied_layers
from preflens.language_models.model import LanguageModel, Reference, flags_kept

# From here on PEFT takes a second adapter on parameters that are no module's own, such as those of experts.
_COPIES_EVERYTHING = (0, 20)


def trl_reference(model: LanguageModel) -> Literal["self", "adapter-copy", "adapter-off"]:
    """Say which reference TRL 1.16 takes when training starts from a model and no reference is given.

    A model without an adapter is copied as it is. Of an adapter that training goes on from, a frozen copy is kept;
    where PEFT is too old to copy it, the model without the adapter is taken.

    Args:
        model: with or without an adapter.

    Returns:
        The word.
    """
    configs: dict[str, Any] | None = getattr(model, "peft_config", None)
    if not configs:
        return "self"
    alone = any(getattr(config, "target_parameters", None) for config in configs.values())
    old = tuple(map(int, version("peft").split(".")[:2])) < _COPIES_EVERYTHING
    return "adapter-off" if alone and old else "adapter-copy"


def is_policy(model: LanguageModel, reference: Reference) -> bool:
    """Tell whether a reference computes what the policy itself computes, as it is.

    Args:
        model: the policy.
        reference: a model, or a word.

    Returns:
        Whether its log-probs need no pass of their own.
    """
    whole_copy = reference == "adapter-copy" and has_adapter(model) and not uncopied_layers(model)
    return reference == "self" or whole_copy


@contextmanager
def as_reference(model: LanguageModel, reference: Reference) -> Iterator[LanguageModel]:
    """Switch to a reference for a while; which parameters step is the same inside and afterwards.

    Args:
        model: the policy.
        reference: a model, or a word.

    Yields:
        What scores.

    Raises:
        InputError: an adapter is asked for, and there is none, or it cannot be switched off.
    """
    if not isinstance(reference, str):
        yield reference
    elif reference == "adapter-off":
        with adapter_off(model):
            yield model
    elif reference == "adapter-copy":
        with adapter_copied(model):
            yield model
    else:
        yield model


@contextmanager
def adapter_off(model: LanguageModel) -> Iterator[LanguageModel]:
    """Switch the adapter of a PEFT model off for a while.

    Args:
        model: a PEFT model.

    Yields:
        The same model, computing what its base computes.

    Raises:
        InputError: the model carries no adapter, or one whose biases have replaced those of the base.
    """
    disable = getattr(model, "disable_adapter", None)
    if disable is None:
        raise InputError(
            '`reference="adapter-off"` needs a model with an adapter; name one as `adapter`.',
            arguments=["reference", "adapter"],
        )
    configs: dict[str, Any] = getattr(model, "peft_config", {})
    if any(getattr(config, "bias", "none") != "none" for config in configs.values()):
        raise InputError(
            '`reference="adapter-off"` cannot be had: this adapter trains the biases of the model it is on, and these '
            "are not put back when it is switched off. Name that model as `reference`.",
            arguments=["reference"],
        )
    with flags_kept(model) as put_back, disable():
        put_back()
        yield model


@contextmanager
def adapter_copied(model: LanguageModel) -> Iterator[LanguageModel]:
    """Let a PEFT model compute for a while what TRL 1.16's frozen copy of its adapter computes.

    TRL copies the parameters whose names have the adapter's name in the middle. Those that end with it (trained rows of
    an embedding, LoRA on an embedding) stay in the copy as a new adapter has them, where they change nothing; so their
    layers are switched off.

    Args:
        model: a PEFT model.

    Yields:
        The same model.

    Raises:
        InputError: the model carries no adapter.
    """
    if not has_adapter(model):
        raise InputError(
            '`reference="adapter-copy"` needs a model with an adapter; name one as `adapter`.',
            arguments=["reference", "adapter"],
        )
    layers = uncopied_layers(model)
    with flags_kept(model) as put_back, ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.enable_adapters, True)
            layer.enable_adapters(False)
        put_back()
        yield model
