"""Load model, tokenizer and reference for `analyze` and `compare`."""

from typing import TYPE_CHECKING, NamedTuple

from preflens.cli.options import DtypeName

if TYPE_CHECKING:  # heavy, and help should be quick
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from preflens.language_models.model import LanguageModel, Reference


class LoadedModels(NamedTuple):
    """Model, tokenizer and reference of a command line.

    Attributes:
        model: policy with its adapter.
        tokenizer: tokenizer of the model.
        reference: reference of the command line, or TRL's default.
    """

    model: "LanguageModel"
    tokenizer: "PreTrainedTokenizerBase"
    reference: "Reference"


def load(
    name: str,
    *,
    revision: str | None,
    adapter: str | None,
    dtype: DtypeName,
    device: str,
    reference: str,
    chat_template: "Path | None",
) -> LoadedModels:
    """Load model, tokenizer and reference. The tokenizer is first, because it fails fastest for a wrong folder.

    Args:
        name: hub id or folder.
        revision: branch, tag or commit of a hub model.
        adapter: hub id or folder of a PEFT adapter, or None.
        dtype: type of the weights.
        device: `auto`, or a torch device.
        reference: value of `--reference`. Empty for TRL's default.
        chat_template: file with a chat template, or None.

    Returns:
        Model, tokenizer and reference.
    """
    from preflens.language_models.loading import load_model, load_reference, load_tokenizer
    from preflens.language_models.references import trl_reference

    tokenizer = load_tokenizer(name, revision=revision, chat_template=chat_template)
    model = load_model(name, revision=revision, adapter=adapter, dtype=dtype.value, device=device)
    loaded_reference = load_reference(
        reference or trl_reference(model), base=name, revision=revision, dtype=dtype.value, device=device
    )
    return LoadedModels(model, tokenizer, loaded_reference)
