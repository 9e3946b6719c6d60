"""Adapters of PEFT: which layers and parameters are an adapter's, and adapters that are put on a model."""

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
    """Find the layers that PEFT has put into a model, with what the active adapters have there.

    Copies of whole modules (`modules_to_save`) and trained rows of embeddings (`trainable_token_indices`) are among
    them. PEFT's classes are told by what they call their weights, so that PEFT need not be installed.

    Args:
        model: with or without adapters.

    Yields:
        Layer, and the modules and parameters of the active adapters.
    """
    for module in model.modules():
        layer: Any = module
        tables = [attrgetter(name)(layer) for name in getattr(layer, "adapter_layer_names", ())]
        own = [table[name] for table in tables for name in layer.active_adapters if name in table]
        own = [part for part in own if isinstance(part, (nn.Module, nn.Parameter))]
        if own:
            yield layer, own


def has_adapter(model: nn.Module) -> bool:
    """Tell whether PEFT has put an adapter into a model.

    Args:
        model: with or without adapters.

    Returns:
        Whether one is active.
    """
    return next(adapter_layers(model), None) is not None


def adapter_parameters(model: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that training the active adapters would train, whether or not they need gradients now.

    Args:
        model: with or without adapters.

    Returns:
        The adapters' weights, copies of modules, trained rows of embeddings, and biases where the adapter says so.
    """
    found: set[nn.Parameter] = set()
    for layer, own in adapter_layers(model):
        for part in own:
            found.update([part] if isinstance(part, nn.Parameter) else part.parameters())
        bias = getattr(getattr(layer, "base_layer", None), "bias", None)
        if isinstance(bias, nn.Parameter) and any(b.endswith("_only") for b in _biases(model)):
            found.add(bias)
    if "all" in _biases(model):
        found.update(p for name, p in model.named_parameters() if name.endswith(".bias"))
    return found


def uncopied_layers(model: nn.Module) -> list[Any]:
    """Return the layers that TRL 1.16 leaves out when it copies an adapter.

    Args:
        model: with or without adapters.

    Returns:
        Layers whose weights are parameters by themselves, so that their names end with the adapter's name; none that is
        switched off already.
    """
    return [
        layer
        for layer, own in adapter_layers(model)
        if any(isinstance(part, nn.Parameter) for part in own) and not layer.disable_adapters
    ]


def put_adapter(model: LanguageModel, adapter: str) -> LanguageModel:
    """Put an adapter on a model, trainable.

    Args:
        model: that it was trained on.
        adapter: hub id or folder; only safetensors.

    Returns:
        PEFT's wrapper around the model.

    Raises:
        InputError: there is none, it cannot be loaded, or it belongs to another model.
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
        left, unknown = _reload(wrapped, folder)
    except InputError:
        raise
    except LOADING_ERRORS as error:
        raise InputError(f"The adapter `{adapter}` cannot be loaded on this model: {first_line(error)}.") from None
    for what, names in (("has no weights for", left), ("has weights that the model has no place for:", unknown)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(
                f"The adapter `{adapter}` does not belong to this model. It {what} `{names[0]}`{more}. Pass the model "
                "that it was trained on."
            )
    return cast(LanguageModel, wrapped)  # it passes everything on to the model inside


def _reload(wrapped: Any, folder: str) -> tuple[list[str], list[str]]:  # noqa: ANN401  # a PeftModel
    """Load an adapter once more over numbers that no file holds: what keeps them was not in the file.

    PEFT's own list of missing keys leaves copied modules and rows of embeddings out.

    Returns:
        Names of parameters that are not in the file, and keys of the file that are on no parameter.
    """
    own = {p for _, parts in adapter_layers(wrapped) for part in parts for p in _parameters(part)}
    with torch.no_grad():
        for parameter in own:
            parameter.fill_(torch.nan)
    result = wrapped.load_adapter(folder, wrapped.active_adapter, is_trainable=True)
    left = [name for name, p in wrapped.named_parameters() if p in own and bool(p.isnan().all())]
    return left, list(result.unexpected_keys)


def _parameters(part: nn.Module | nn.Parameter) -> list[nn.Parameter]:
    return [part] if isinstance(part, nn.Parameter) else list(part.parameters())


def _biases(model: nn.Module) -> set[str]:
    """How the adapters of a model treat biases: `none`, `all`, or an `…_only`."""
    configs: dict[str, Any] = getattr(model, "peft_config", {})
    return {getattr(config, "bias", "none") for config in configs.values()}


def _folder(adapter: str) -> str:
    """A local folder with safetensors in it: left to itself, peft would fall back to a pickle."""
    files = [ADAPTER_FILE, _WEIGHTS]
    folder = adapter if Path(adapter).is_dir() else snapshot_download(adapter, allow_patterns=files)
    if not (Path(folder) / _WEIGHTS).is_file():
        raise InputError(f"The adapter `{adapter}` holds no {_WEIGHTS}; other formats are not loaded.")
    return folder
