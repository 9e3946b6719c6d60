"""Models, tokenizers, adapters and references, from a folder or the hub."""

from pathlib import Path
from typing import cast

import torch
from huggingface_hub import snapshot_download
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from preflens.errors import InputError, MissingExtraError
from preflens.language_models.model import LanguageModel, Reference, resolve_device
from preflens.language_models.names import LOADING_ERRORS, check_folder, first_line

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_model_folder(name: str) -> None:
    """Refuse, before anything is loaded, a path where no model lies; names that may be hub ids pass.

    Args:
        name: hub id or folder.
    """
    check_folder(name, "config.json", "a model")


def load_model(
    name: str,
    *,
    revision: str | None = None,
    adapter: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
) -> LanguageModel:
    """Load a causal language model; only safetensors, no code from the hub.

    Args:
        name: hub id or folder.
        revision: branch, tag or commit of a hub model.
        adapter: hub id or folder of a PEFT adapter to put on it, trainable.
        dtype: a key of `DTYPES`.
        device: `auto` (CUDA where there is one), or a torch device.

    Returns:
        The model in evaluation mode.

    Raises:
        InputError: it is not there, holds no model, or cannot be loaded.
    """
    check_model_folder(name)
    try:
        model: LanguageModel = AutoModelForCausalLM.from_pretrained(
            name, revision=revision, dtype=DTYPES[dtype], trust_remote_code=False, use_safetensors=True
        )
    except LOADING_ERRORS as error:
        raise InputError(f"The model `{name}` cannot be loaded: {first_line(error)}.") from None
    if adapter is not None:
        model = _with_adapter(model, adapter)
    nn.Module.to(model, resolve_device(device))
    model.eval()
    return model


def load_reference(name: str, *, dtype: str = "float32", device: str = "auto") -> Reference:
    """Turn the name of a reference into what `analyze` takes.

    Args:
        name: `self`, `none`, `adapter-off`, or a hub id or folder.
        dtype: a key of `DTYPES`.
        device: as for the policy.

    Returns:
        The word itself, or the loaded model.
    """
    return name if name in {"self", "none", "adapter-off"} else load_model(name, dtype=dtype, device=device)  # type: ignore[return-value]  # one of the words


def load_tokenizer(
    name: str, *, revision: str | None = None, chat_template: Path | None = None
) -> PreTrainedTokenizerBase:
    """Load a tokenizer.

    Args:
        name: hub id or folder.
        revision: branch, tag or commit on the hub.
        chat_template: a Jinja file that replaces the tokenizer's chat template.

    Returns:
        The tokenizer; without a padding token it pads with its end-of-sequence token, as TRL does.

    Raises:
        InputError: it cannot be loaded, has neither padding nor end-of-sequence token, or the template is not there.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=False
        )
    except LOADING_ERRORS as error:
        raise InputError(f"The tokenizer of `{name}` cannot be loaded: {first_line(error)}.") from None
    if chat_template is not None:
        try:
            tokenizer.chat_template = chat_template.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The chat template `{chat_template}` cannot be read: {first_line(error)}.") from None
    padding_token_id(tokenizer)
    return tokenizer


def padding_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that fills rows on the right; it is masked everywhere.

    Args:
        tokenizer: not changed.

    Returns:
        Its padding token, else its end-of-sequence token, as in TRL.

    Raises:
        InputError: it has neither.
    """
    for token_id in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token_id is not None:
            return int(token_id)
    raise InputError(
        f"The tokenizer of `{tokenizer.name_or_path}` has neither a padding token nor an end-of-sequence token. "
        'Set one in its tokenizer_config.json, for example `"pad_token": "<pad>"`.'
    )


def _with_adapter(model: LanguageModel, adapter: str) -> LanguageModel:
    try:
        from peft import PeftModel
    except ImportError:
        raise MissingExtraError("`--adapter` needs peft: pip install 'preflens[train]'.") from None
    check_folder(adapter, "adapter_config.json", "an adapter")
    try:
        folder = _adapter_folder(adapter)
        wrapped = PeftModel.from_pretrained(model, folder, is_trainable=True)
    except LOADING_ERRORS as error:
        raise InputError(f"The adapter `{adapter}` cannot be loaded: {first_line(error)}.") from None
    return cast(LanguageModel, wrapped)  # it passes everything on to the model inside


def _adapter_folder(adapter: str) -> str:
    """A local folder with safetensors in it: left to itself, peft would fall back to a pickle."""
    files = ["adapter_config.json", "adapter_model.safetensors"]
    folder = adapter if Path(adapter).is_dir() else snapshot_download(adapter, allow_patterns=files)
    if not (Path(folder) / files[1]).is_file():
        raise InputError(f"The adapter `{adapter}` holds no {files[1]}; other formats are not loaded.")
    return folder
