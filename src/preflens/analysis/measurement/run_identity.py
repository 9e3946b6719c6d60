"""What the finished parts of a run depend on; objectives and learning rate are not among it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from preflens.analysis.measurement.checkpoint import digest
from preflens.analysis.summaries.provenance import versions
from preflens.language_models.fingerprints import adapter_fingerprint, configuration_fingerprint, tokens_fingerprint
from preflens.language_models.model import LanguageModel
from preflens.language_models.tokenizing import TokenizedPair
from preflens.records.common import DataProvenance, ModelProvenance

_DECIDING = ("preflens", "torch", "transformers", "peft")

# What differs wherever another trait differs says nothing more.
_FOLLOWS = {"model": {"adapter", "type"}, "update batches": {"pairs"}}


@dataclass(frozen=True)
class Trait:
    """Something that the finished parts of a run depend on.

    Attributes:
        content: a hash, compared.
        words: for people; two traits may differ in content alone.
    """

    content: str
    words: str


Traits = Mapping[str, Trait]


def run_traits(
    model: LanguageModel,
    about: ModelProvenance,
    data: DataProvenance,
    pairs: Sequence[TokenizedPair],
    batches: Sequence[Sequence[int]],
    *,
    seed: int,
) -> dict[str, Trait]:
    """Collect everything that the geometry of update batches depends on.

    Args:
        model: with the parameters that step trainable.
        about: the model.
        data: the pairs.
        pairs: the same, tokenised.
        batches: which of them share an update.
        seed: by which those were drawn.

    Returns:
        Traits by name, in the order in which differences are told.
    """
    used = versions()
    stepping = sorted(name for name, p in model.named_parameters() if p.requires_grad)
    weights = [about.fingerprint, configuration_fingerprint(model.config)]
    drawn = f"{len(batches)} of up to {max(map(len, batches))} pairs (seed {seed})"
    return {
        "versions": _trait(", ".join(f"{p} {used[p]}" for p in _DECIDING if p in used)),
        "adapter": _adapter_trait(model),
        "type": _trait(about.dtype),
        "model": _trait(about.name, *weights),
        "device": _trait(model.device.type),
        "parameters": _trait(about.selection, *stepping),
        "reference": _trait(about.reference),
        "pairs": pairs_trait(data, pairs),
        "update batches": _trait(drawn, json.dumps([list(batch) for batch in batches])),
    }


def pairs_trait(data: DataProvenance, pairs: Iterable[TokenizedPair]) -> Trait:
    """Tell pairs from others by their tokens: the same texts under another chat template are other pairs.

    Args:
        data: about them.
        pairs: tokenised.

    Returns:
        The trait.
    """
    words = f"{data.pairs} of {data.source} (at most {data.max_length} tokens)"
    return Trait(tokens_fingerprint(pairs), words)


def differences(now: Traits, then: Traits) -> list[str]:
    """Say in which traits two runs differ.

    Args:
        now: of this run.
        then: of the other.

    Returns:
        A phrase for each.
    """
    names = [
        name
        for name in {**now, **then}
        if name not in now or name not in then or now[name].content != then[name].content
    ]
    said = [name for name in names if not _FOLLOWS.get(name, set()) & set(names)]
    phrases = []
    for name in said:
        ours, theirs = (traits[name].words if name in traits else "none" for traits in (now, then))
        same = f"{name} {ours}, with other content then" if ours == theirs else f"{name} {ours}, then {theirs}"
        phrases.append(same)
    return phrases


def _trait(words: str, *content: str) -> Trait:
    """Something that is its words, or has content that they stand for."""
    return Trait(digest(json.dumps(content or words).encode()), words)


def _adapter_trait(model: LanguageModel) -> Trait:
    there = getattr(model, "peft_config", {})
    words = ", ".join(f"{name} ({getattr(c.peft_type, 'value', c.peft_type)})" for name, c in there.items())
    return _trait(words or "none", adapter_fingerprint(model), *map(configuration_fingerprint, there.values()))
