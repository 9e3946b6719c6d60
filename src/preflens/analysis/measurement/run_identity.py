"""Traits of a run that its finished parts depend on. Objectives and learning rate are not among them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from preflens.analysis.measurement.provenance import versions
from preflens.analysis.measurement.sealed_arrays import digest
from preflens.language_models.fingerprints import adapter_fingerprint, configuration_fingerprint, tokens_fingerprint
from preflens.language_models.model import LanguageModel
from preflens.language_models.tokenizing import TokenizedPair
from preflens.records.common import DataProvenance, ModelProvenance

_DECIDING = ("preflens", "torch", "transformers", "peft")

# A trait that always differs together with another one is not named beside it.
_FOLLOWS = {"model": {"adapter", "type"}, "update batches": {"pairs"}}


@dataclass(frozen=True)
class Trait:
    """One property of a run that its finished parts depend on.

    Attributes:
        content: hash that is compared.
        words: description for messages. Two traits may differ in content only.
    """

    content: str
    words: str


Traits = Mapping[str, Trait]


def run_traits(
    model: LanguageModel,
    provenance: ModelProvenance,
    data: DataProvenance,
    pairs: Sequence[TokenizedPair],
    *,
    batches: Sequence[Sequence[int]],
    seed: int,
) -> dict[str, Trait]:
    """Collect the traits that the geometry of update batches depends on.

    Args:
        model: the policy; exactly the parameters that step have `requires_grad`.
        provenance: of the model.
        data: provenance of the pairs.
        pairs: the pairs, tokenized.
        batches: positions of each update batch's pairs.
        seed: of the update batches.

    Returns:
        Traits by name, in the order in which differences are reported.
    """
    installed = versions()
    stepping = sorted(name for name, p in model.named_parameters() if p.requires_grad)
    weights = [provenance.fingerprint, configuration_fingerprint(model.config)]
    drawn = f"{len(batches)} of up to {max(map(len, batches))} pairs (seed {seed})"
    return {
        "versions": _trait(", ".join(f"{p} {installed[p]}" for p in _DECIDING if p in installed)),
        "adapter": _adapter_trait(model),
        "type": _trait(provenance.dtype),
        "model": _trait(provenance.name, *weights),
        "device": _trait(model.device.type),
        "parameters": _trait(provenance.selection, *stepping),
        "reference": _trait(provenance.reference),
        "pairs": pairs_trait(data, pairs),
        "update batches": _trait(drawn, json.dumps([list(batch) for batch in batches])),
    }


def pairs_trait(data: DataProvenance, pairs: Iterable[TokenizedPair]) -> Trait:
    """Describe pairs by their tokens. The same texts under another chat template are different pairs.

    Args:
        data: provenance of the pairs.
        pairs: the pairs, tokenized.

    Returns:
        The trait.
    """
    words = f"{data.pairs} of {data.source} (at most {data.max_length} tokens)"
    return Trait(tokens_fingerprint(pairs), words)


def differences(now: Traits, then: Traits) -> list[str]:
    """Describe the traits in which two runs differ.

    Args:
        now: traits of this run.
        then: traits of the other run.

    Returns:
        One phrase per trait.
    """
    names = [
        name
        for name in {**now, **then}
        if name not in now or name not in then or now[name].content != then[name].content
    ]
    reported = [name for name in names if not _FOLLOWS.get(name, set()) & set(names)]
    phrases = []
    for name in reported:
        ours, theirs = (traits[name].words if name in traits else "none" for traits in (now, then))
        changed = "with other content then" if ours == theirs else f"then {theirs}"
        phrases.append(f"{name} {ours}, {changed}")
    return phrases


def _trait(words: str, *content: str) -> Trait:
    """A trait whose content is given, or is its words."""
    return Trait(digest(json.dumps(content or words).encode()), words)


def _adapter_trait(model: LanguageModel) -> Trait:
    configurations = getattr(model, "peft_config", {})
    words = ", ".join(f"{name} ({getattr(c.peft_type, 'value', c.peft_type)})" for name, c in configurations.items())
    return _trait(words or "none", adapter_fingerprint(model), *map(configuration_fingerprint, configurations.values()))
