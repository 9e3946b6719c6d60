"""The model, tokenizer and reference that `analyze` and `compare` are asked about."""

from typing import TYPE_CHECKING, NamedTuple

from preflens.cli.options import DtypeName

if TYPE_CHECKING:  # heavy, and help should be quick
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from preflens.language_models.model import LanguageModel, Reference


class Loaded(NamedTuple):
    """What a command line names.

    Attributes:
        model: with its adapter.
        tokenizer: of the model.
        reference: the reference that was asked for, or the one that TRL would take.
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
) -> Loaded:
    """Load what a command line names; the tokenizer first, because it tells a wrong folder soonest.

    Args:
        name: hub id or folder.
        revision: of the hub.
        adapter: of PEFT, or None.
        dtype: of the weights.
        device: where to.
        reference: as the option has it; empty for the default.
        chat_template: file, or None.

    Returns:
        All three.
    """
    from preflens.language_models.loading import load_model, load_reference, load_tokenizer
    from preflens.language_models.references import trl_reference

    tokenizer = load_tokenizer(name, revision=revision, chat_template=chat_template)
    model = load_model(name, revision=revision, adapter=adapter, dtype=dtype.value, device=device)
    wanted = reference or trl_reference(model)
    found = load_reference(wanted, base=name, revision=revision, dtype=dtype.value, device=device)
    return Loaded(model, tokenizer, found)
