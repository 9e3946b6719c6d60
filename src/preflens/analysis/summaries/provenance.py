"""What an analysis was made of: versions, data, model."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from preflens.language_models.fingerprints import model_fingerprint, pairs_fingerprint
from preflens.language_models.model import LanguageModel, Reference
from preflens.language_models.reading import PairSource
from preflens.language_models.references import is_policy
from preflens.language_models.tokenizing import TokenizedPair, TokenizedPairs, count_notes
from preflens.records.analysis_wording import PARTIAL_COPY
from preflens.records.common import DataProvenance, ModelProvenance
from preflens.version import __version__

_NOTED_PACKAGES = ("torch", "transformers", "datasets", "peft", "numpy", "scipy", "pyarrow", "plotly")


def versions() -> dict[str, str]:
    """Return the versions of preflens and of what its numbers depend on.

    Returns:
        Version by package; packages that are not installed are left out.
    """
    found = {"preflens": __version__}
    for package in _NOTED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def data_provenance(
    source: PairSource, tokenized: TokenizedPairs, pairs: Sequence[TokenizedPair], *, max_length: int
) -> DataProvenance:
    """Say which pairs are analysed and what became of the others.

    Args:
        source: what was read.
        tokenized: what tokenising said.
        pairs: the analysed pairs in order.
        max_length: tokens after which a sequence was cut.

    Returns:
        The facts.
    """
    return DataProvenance(
        source=source.name,
        fingerprint=pairs_fingerprint(p.pair for p in pairs),
        rows=source.rows,
        sampled=len(pairs) + sum(tokenized.dropped.values()),
        pairs=len(pairs),
        dropped={**source.dropped, **tokenized.dropped},
        noted={**source.noted, **count_notes(pairs)},
        max_length=max_length,
    )


def model_provenance(model: LanguageModel, *, name: str | None, selection: str, reference: str) -> ModelProvenance:
    """Describe the model, its trainable parameters being those with `requires_grad`.

    Args:
        model: the policy.
        name: what the caller calls it.
        selection: how the parameters were chosen.
        reference: where reference log-probs come from.

    Returns:
        The facts.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    return ModelProvenance(
        name=name or model.name_or_path or "in memory",
        architecture=type(model).__name__,
        fingerprint=model_fingerprint(model),
        dtype=str(trainable[0].dtype).removeprefix("torch."),
        device=str(model.device),
        parameters=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in trainable),
        selection=selection,
        reference=reference,
    )


def describe_reference(reference: Reference, model: LanguageModel) -> str:
    """Name a reference for the record.

    Args:
        reference: a model, or one of the words.
        model: the policy.

    Returns:
        The word, or the model's name and fingerprint.
    """
    if isinstance(reference, str):
        return PARTIAL_COPY if reference == "adapter-copy" and not is_policy(model, reference) else reference
    adapter = " with an adapter" if hasattr(reference, "peft_config") else ""
    return f"{reference.name_or_path or 'in memory'}{adapter} ({model_fingerprint(reference)})"
