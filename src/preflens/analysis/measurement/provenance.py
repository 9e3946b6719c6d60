"""Provenance of a run: package versions, data, model."""

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
    """Return the versions of preflens and of the packages that its numbers depend on.

    Returns:
        Version by package. Packages that are not installed are left out.
    """
    installed = {"preflens": __version__}
    for package in _NOTED_PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def data_provenance(
    source: PairSource, tokenized: TokenizedPairs, pairs: Sequence[TokenizedPair], *, max_length: int
) -> DataProvenance:
    """Describe the pairs of a run and the rows that were dropped.

    Args:
        source: the rows as read.
        tokenized: the result of tokenizing.
        pairs: the used pairs in order.
        max_length: tokens after which a sequence was cut.

    Returns:
        The provenance.
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
    """Describe the model. Its trainable parameters are those with `requires_grad`.

    Args:
        model: the policy.
        name: name for the record, or None for the name that the model carries.
        selection: how the trainable parameters were chosen.
        reference: where reference log-probs come from.

    Returns:
        The provenance.
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
