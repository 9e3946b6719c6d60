"""PEFT adapters: the layers and parameters of an adapter, and loading an adapter onto a model."""

import warnings
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import snapshot_download
from torch import nn

from preflens.errors import InputError, MissingExtraError
from preflens.language_models.model import LanguageModel
from preflens.language_models.model_names import ADAPTER_FILE, LOADING_ERRORS, check_folder, first_line

_WEIGHTS = "adapter_model.safetensors"


def adapter_layers(model: nn.Module) -> Iterator[tuple[Any, list[nn.Module | nn.Parameter]]]:
    """Yield the layers that PEFT added to a model, with the parts of the active adapters.

    Copies of whole modules (`modules_to_save`) and trained rows of embeddings (`trainable_token_indices`) are included.
    PEFT's classes are recognized by the names of their weights, so PEFT need not be installed.

    Args:
        model: with or without adapters.

    Yields:
        A layer, and the modules and parameters of the active adapters in it.
    """
    for module in model.modules():
        layer: Any = module
        tables = [attrgetter(name)(layer) for name in getattr(layer, "adapter_layer_names", ())]
        parts = [table[name] for table in tables for name in layer.active_adapters if name in table]
        parts = [part for part in parts if isinstance(part, (nn.Module, nn.Parameter))]
        if parts:
            yield layer, parts


def has_adapter(model: nn.Module) -> bool:
    """Return whether a model has an active PEFT adapter.

    Args:
        model: with or without adapters.

    Returns:
        True if one is active.
    """
    return next(adapter_layers(model), None) is not None


def adapter_parameters(model: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that training the active adapters would update, whatever their `requires_grad`.

    Args:
        model: with or without adapters.

    Returns:
        The adapters' weights, copies of modules, trained rows of embeddings, and biases if the adapter's configuration
        includes them.
    """
    trained: set[nn.Parameter] = set()
    for layer, parts in adapter_layers(model):
        for part in parts:
            trained.update([part] if isinstance(part, nn.Parameter) else part.parameters())
        bias = getattr(getattr(layer, "base_layer", None), "bias", None)
        if isinstance(bias, nn.Parameter) and any(b.endswith("_only") for b in _biases(model)):
            trained.add(bias)
    if "all" in _biases(model):
        trained.update(p for name, p in model.named_parameters() if name.endswith(".bias"))
    return trained


def uncopied_layers(model: nn.Module) -> list[Any]:
    """Return the layers that TRL 1.16 does not copy when it copies an adapter.

    Args:
        model: with or without adapters.

    Returns:
        Layers whose weights are bare parameters, so that their names end with the adapter's name, without layers that
        are disabled already.
    """
    return [
        layer
        for layer, parts in adapter_layers(model)
        if any(isinstance(part, nn.Parameter) for part in parts) and not layer.disable_adapters
    ]


def put_adapter(model: LanguageModel, adapter: str) -> LanguageModel:
    """Load an adapter onto a model, trainable.

    Args:
        model: the model that it was trained on.
        adapter: hub id or folder; only safetensors.

    Returns:
        PEFT's wrapper around the model.

    Raises:
        InputError: there is no adapter, it cannot be loaded, or it was trained on another model.
        MissingExtraError: peft is not installed.
    """
    try:
        from peft import PeftModel
    except ImportError:
        raise MissingExtraError("`adapter` needs peft: pip install 'preflens[train]'.", arguments=["adapter"]) from None
    check_folder(adapter, ADAPTER_FILE, "an adapter")
    try:
        folder = _folder(adapter)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # it is an error here
            # peft 0.21 asks transformers 5.23 for a name that it now spells otherwise
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            wrapped = PeftModel.from_pretrained(model, folder, is_trainable=True)
        missing, unknown = _reload(wrapped, folder)
    except InputError:
        raise
    except (*LOADING_ERRORS, TypeError) as error:  # TypeError: a configuration that is no JSON object
        raise InputError(f"The adapter `{adapter}` cannot be loaded on this model: {first_line(error)}.") from None
    for what, names in (("has no weights for", missing), ("has weights that the model has no place for:", unknown)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(
                f"The adapter `{adapter}` does not belong to this model. It {what} `{names[0]}`{more}. Pass the model "
                "that it was trained on."
            )
    return cast(LanguageModel, wrapped)  # it forwards attributes to the wrapped model


def _reload(wrapped: Any, folder: str) -> tuple[list[str], list[str]]:  # noqa: ANN401  # a PeftModel
    """Fill the adapter with NaN and load it again: parameters that stay NaN are not in the file.

    PEFT's own list of missing keys does not include copied modules and rows of embeddings.

    Returns:
        Names of parameters that are not in the file, and keys of the file that match no parameter.
    """
    parameters = {p for _, parts in adapter_layers(wrapped) for part in parts for p in _parameters(part)}
    with torch.no_grad():
        for parameter in parameters:
            parameter.fill_(torch.nan)
    result = wrapped.load_adapter(folder, wrapped.active_adapter, is_trainable=True)
    missing = [name for name, p in wrapped.named_parameters() if p in parameters and bool(p.isnan().all())]
    return missing, list(result.unexpected_keys)


def _parameters(part: nn.Module | nn.Parameter) -> list[nn.Parameter]:
    return [part] if isinstance(part, nn.Parameter) else list(part.parameters())


def _biases(model: nn.Module) -> set[str]:
    """The `bias` settings of a model's adapters: `none`, `all`, or an `…_only`."""
    configs: dict[str, Any] = getattr(model, "peft_config", {})
    return {getattr(config, "bias", "none") for config in configs.values()}


def _folder(adapter: str) -> str:
    """A local folder with safetensors. Without one, peft would fall back to a pickle."""
    files = [ADAPTER_FILE, _WEIGHTS]
    folder = adapter if Path(adapter).is_dir() else snapshot_download(adapter, allow_patterns=files)
    if not (Path(folder) / _WEIGHTS).is_file():
        raise InputError(f"The adapter `{adapter}` holds no {_WEIGHTS}; other formats are not loaded.")
    return folder
