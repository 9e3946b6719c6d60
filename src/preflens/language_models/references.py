"""Reference models: TRL's default, and the policy as each kind of reference."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any, Literal

from preflens.errors import InputError
from preflens.language_models.adapters import has_adapter, uncopied_layers
from preflens.language_models.model import LanguageModel, Reference, flags_kept

# From this version on, PEFT supports a second adapter on bare parameters, such as those of experts.
_COPIES_EVERYTHING = (0, 20)


def trl_reference(model: LanguageModel) -> Literal["self", "adapter-copy", "adapter-off"]:
    """Return the reference that TRL 1.16 uses by default for a model.

    For a model without an adapter, a copy of the model. For an adapter that training continues from, a frozen copy of
    the adapter. If PEFT is too old to copy it, the model without the adapter.

    Args:
        model: with or without an adapter.

    Returns:
        The keyword.
    """
    configs: dict[str, Any] | None = getattr(model, "peft_config", None)
    if not configs:
        return "self"
    alone = any(getattr(config, "target_parameters", None) for config in configs.values())
    old = tuple(map(int, version("peft").split(".")[:2])) < _COPIES_EVERYTHING
    return "adapter-off" if alone and old else "adapter-copy"


def is_policy(model: LanguageModel, reference: Reference) -> bool:
    """Return whether a reference has the same log-probs as the current policy.

    Args:
        model: the policy.
        reference: a model, or a keyword.

    Returns:
        True if no separate pass is needed.
    """
    whole_copy = reference == "adapter-copy" and has_adapter(model) and not uncopied_layers(model)
    return reference == "self" or whole_copy


@contextmanager
def as_reference(model: LanguageModel, reference: Reference) -> Iterator[LanguageModel]:
    """Switch to a reference inside this context; `requires_grad` is the same inside and afterwards.

    Args:
        model: the policy.
        reference: a model, or a keyword.

    Yields:
        The model that computes the reference log-probs.

    Raises:
        InputError: the reference needs an adapter, and there is none, or it cannot be disabled.
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
    """Disable the adapter of a PEFT model inside this context.

    Args:
        model: a PEFT model.

    Yields:
        The same model, with the outputs of its base.

    Raises:
        InputError: the model has no adapter, or one that trains the biases of the base.
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
    with flags_kept(model) as restore, disable():
        restore()
        yield model


@contextmanager
def adapter_copied(model: LanguageModel) -> Iterator[LanguageModel]:
    """Give a PEFT model the outputs of TRL 1.16's frozen copy of its adapter inside this context.

    TRL copies the parameters whose names have the adapter's name in the middle. Those that end with it (trained rows of
    an embedding, LoRA on an embedding) have their initial values in the copy, where they change nothing. So their
    layers are disabled here.

    Args:
        model: a PEFT model.

    Yields:
        The same model.

    Raises:
        InputError: the model has no adapter.
    """
    if not has_adapter(model):
        raise InputError(
            '`reference="adapter-copy"` needs a model with an adapter; name one as `adapter`.',
            arguments=["reference", "adapter"],
        )
    layers = uncopied_layers(model)
    with flags_kept(model) as restore, ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.enable_adapters, True)
            layer.enable_adapters(False)
        restore()
        yield model
