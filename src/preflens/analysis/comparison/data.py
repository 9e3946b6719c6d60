"""Training pairs and held-out pairs of a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from preflens.analysis.comparison.held_out import split_pairs, without_training_pairs
from preflens.analysis.measurement.provenance import data_provenance
from preflens.analysis.measurement.update_batches import longest_first, sample_pairs, update_batches
from preflens.language_models.fingerprints import pairs_fingerprint
from preflens.language_models.reading import PairInput, PairSource, pair_source
from preflens.language_models.tokenizing import TokenizedPair, TokenizedPairs, count_notes
from preflens.records.common import DataProvenance
from preflens.records.comparison_metadata import BeforeSplit


@dataclass(frozen=True)
class ComparisonData:
    """The pairs of a comparison.

    Attributes:
        training: training pairs in the order of the data.
        held_out: held-out pairs in the order of the data.
        training_provenance: origin of the training pairs.
        held_out_provenance: origin of the held-out pairs.
        before_split: rows dropped and noted before the split; None if the held-out pairs were given.
    """

    training: tuple[TokenizedPair, ...]
    held_out: tuple[TokenizedPair, ...]
    training_provenance: DataProvenance
    held_out_provenance: DataProvenance
    before_split: BeforeSplit | None

    def update_batches(self, *, size: int, seed: int) -> list[list[int]]:
        """Draw the update batches of the training pairs.

        Args:
            size: pairs in an update batch, at most.
            seed: of the shuffle.

        Returns:
            Positions of each batch's pairs, the longest first.
        """
        return longest_first(update_batches(len(self.training), size=size, seed=seed), self.training)


def comparison_data(
    pairs: PairInput,
    held_out: PairInput | None,
    tokenizer: PreTrainedTokenizerBase,
    *,
    fraction: float,
    max_length: int,
    limit: int | None,
    seed: int,
) -> ComparisonData:
    """Tokenize the pairs and hold some out.

    Args:
        pairs: the training pairs, and the held-out ones unless `held_out` is given.
        held_out: held-out pairs, or None to hold out a share of `pairs`.
        tokenizer: the model's tokenizer.
        fraction: share of the pairs to hold out; ignored if `held_out` is given.
        max_length: tokens after which a sequence is cut.
        limit: size of a random sample of `pairs`.
        seed: of the sample and the split.

    Returns:
        Training and held-out pairs, and what was dropped.
    """
    source = pair_source(pairs)
    read, training = sample_pairs(source, tokenizer, max_length=max_length, limit=limit, seed=seed)
    if held_out is None:
        return _split(source, read, training, fraction=fraction, max_length=max_length, seed=seed)
    held_out_source = pair_source(held_out)
    held_out_read, usable = sample_pairs(held_out_source, tokenizer, max_length=max_length, limit=None, seed=seed)
    kept, shared_prompts = without_training_pairs(usable, training)
    provenance = data_provenance(held_out_source, held_out_read, kept, max_length=max_length)
    repeated = len(usable) - len(kept)
    dropped = provenance.dropped | ({"also a training pair": repeated} if repeated else {})
    noted = provenance.noted | ({"prompt of a training pair": shared_prompts} if shared_prompts else {})
    return ComparisonData(
        tuple(training), tuple(kept), data_provenance(source, read, training, max_length=max_length),
        replace(provenance, sampled=provenance.sampled + repeated, dropped=dropped, noted=noted), None,
    )  # fmt: skip


def _split(
    source: PairSource,
    read: TokenizedPairs,
    pairs: Sequence[TokenizedPair],
    *,
    fraction: float,
    max_length: int,
    seed: int,
) -> ComparisonData:
    """Hold pairs out. Rows dropped before the split belong to neither side, notes to the side of their pair."""
    training, held_out = split_pairs(pairs, fraction=fraction, seed=seed)
    provenance = data_provenance(source, read, pairs, max_length=max_length)

    def side(members: Sequence[TokenizedPair], name: str) -> DataProvenance:
        fingerprint = pairs_fingerprint(p.pair for p in members)
        return replace(provenance, source=name, fingerprint=fingerprint, pairs=len(members), dropped={},
                       noted=count_notes(members))  # fmt: skip

    return ComparisonData(
        tuple(training), tuple(held_out), side(training, provenance.source),
        side(held_out, f"{provenance.source}, held out"), BeforeSplit(provenance.dropped, dict(source.noted)),
    )  # fmt: skip
