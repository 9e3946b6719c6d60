"""Load models, tokenizers, adapters and references from a folder or the hub."""

from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from preflens.errors import InputError
from preflens.language_models.adapters import put_adapter
from preflens.language_models.model import LanguageModel, Reference, resolve_device
from preflens.language_models.model_names import LOADING_ERRORS, adapter_alone, check_folder, first_line, is_adapter

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_model_folder(name: str) -> None:
    """Raise if a path contains no model, before anything is loaded; names that may be hub ids pass.

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
        adapter: hub id or folder of a PEFT adapter to load onto it, trainable.
        dtype: a key of `DTYPES`.
        device: `auto` (CUDA if available), or a torch device.

    Returns:
        The model in evaluation mode.

    Raises:
        InputError: it does not exist, contains no model, or cannot be loaded.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from preflens.demo.tiny_model import make_model, make_tokenizer
        >>> with TemporaryDirectory() as folder:
        ...     make_model(make_tokenizer(), seed=0).save_pretrained(folder)
        ...     model = load_model(folder, device="cpu")
        >>> type(model).__name__, model.training
        ('GPT2LMHeadModel', False)
    """
    check_model_folder(name)
    model = _load_whole(name, revision=revision, dtype=dtype)
    if adapter is not None:
        model = put_adapter(model, adapter)
    nn.Module.to(model, resolve_device(device))
    model.eval()
    return model


def load_reference(
    name: str, *, base: str | None = None, revision: str | None = None, dtype: str = "float32", device: str = "auto"
) -> Reference:
    """Return a reference as `analyze` accepts it, from its name.

    Args:
        name: `self`, `none`, `adapter-off`, `adapter-copy`, or a hub id or folder: of a model, or of another adapter.
        base: hub id or folder of the model that an adapter is loaded onto.
        revision: branch, tag or commit of the base.
        dtype: a key of `DTYPES`.
        device: as for the policy.

    Returns:
        The keyword itself, or the loaded model.
    """
    if name in get_args(get_args(Reference)[1]):
        return name  # type: ignore[return-value]  # one of the keywords
    if base is not None and is_adapter(name):
        return load_model(base, revision=revision, adapter=name, dtype=dtype, device=device)
    return load_model(name, dtype=dtype, device=device)


def _load_whole(name: str, *, revision: str | None, dtype: str) -> LanguageModel:
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            name, revision=revision, dtype=DTYPES[dtype], trust_remote_code=False, use_safetensors=True,
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip  # returns the model and a report
    except LOADING_ERRORS as error:
        raise InputError(f"The model `{name}` cannot be loaded: {first_line(error)}.") from None
    model: LanguageModel = loaded[0]
    if hasattr(model, "peft_config"):  # an adapter on the hub, which transformers loads onto its base
        raise InputError(adapter_alone(name))
    _refuse_random_weights(name, loaded[1])
    if dtype == "float64" and hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # the default multiplies experts with a function without float64
    return model


def check_weights(name: str, *, revision: str | None = None) -> None:
    """Refuse a model whose files lack weights, without loading them: another library will load the model.

    Args:
        name: hub id or folder.
        revision: branch, tag or commit on the hub.

    Raises:
        InputError: the model cannot be loaded, or weights are missing or have other shapes.
    """
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            name, revision=revision, device_map="meta", trust_remote_code=False, use_safetensors=True,
            output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
    except LOADING_ERRORS as error:
        raise InputError(f"The model `{name}` cannot be loaded: {first_line(error)}.") from None
    _refuse_random_weights(name, loaded[1])


def _refuse_random_weights(name: str, report: dict[str, Any]) -> None:
    """Weights that are missing in the file, or have other shapes there, would be random, and so would the results."""
    for key, shape, needed in report["mismatched_keys"]:
        raise InputError(
            f"The model `{name}` cannot be loaded: `{key}` has the shape {list(shape)} in its file, and {list(needed)} "
            "by its config.json."
        )
    missing = sorted(report["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            f"The model `{name}` cannot be loaded: its file has no `{missing[0]}`{more}, where random weights would "
            "stand. Is it whole, and a causal language model?"
        )


def load_tokenizer(
    name: str, *, revision: str | None = None, chat_template: Path | None = None
) -> PreTrainedTokenizerBase:
    """Load a tokenizer.

    Args:
        name: hub id or folder.
        revision: branch, tag or commit on the hub.
        chat_template: a Jinja file that replaces the tokenizer's chat template.

    Returns:
        The tokenizer. Without a padding token, rows are padded with the end-of-sequence token, as in TRL.

    Raises:
        InputError: it cannot be loaded, has neither padding nor end-of-sequence token, or the template cannot be read.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from preflens.demo.tiny_model import make_tokenizer
        >>> with TemporaryDirectory() as folder:
        ...     _ = make_tokenizer().save_pretrained(folder)
        ...     tokenizer = load_tokenizer(folder)
        >>> tokenizer.pad_token
        '<pad>'
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=False
        )
    except Exception as error:
        if not (isinstance(error, LOADING_ERRORS) or type(error) is Exception):  # tokenizers raises plain exceptions
            raise
        raise InputError(f"The tokenizer of `{name}` cannot be loaded: {first_line(error)}.") from None
    if chat_template is not None:
        try:
            tokenizer.chat_template = chat_template.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The chat template `{chat_template}` cannot be read: {first_line(error)}.") from None
    padding_token_id(tokenizer)
    return tokenizer


def padding_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the token that pads rows on the right; it is masked everywhere.

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
