"""Training pairs and held-out pairs of a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from preflens.analysis.comparison.held_out import split_pairs, without_training_pairs
from preflens.analysis.measurement.update_batches import longest_first, sample_pairs, update_batches
from preflens.analysis.summaries.provenance import data_provenance
from preflens.language_models.fingerprints import pairs_fingerprint
from preflens.language_models.reading import PairInput, PairSource, pair_source
from preflens.language_models.tokenizing import TokenizedPair, TokenizedPairs, count_notes
from preflens.records.common import DataProvenance
from preflens.records.comparison_metadata import BeforeSplit


@dataclass(frozen=True)
class ComparisonData:
    """The pairs of a comparison.

    Attributes:
        training: in order.
        held_out: in order.
        metadata: about the training pairs.
        probe_provenance: about the held-out pairs.
        before_split: what became of rows before they were split; None where the held-out pairs were given.
    """

    training: tuple[TokenizedPair, ...]
    held_out: tuple[TokenizedPair, ...]
    metadata: DataProvenance
    probe_provenance: DataProvenance
    before_split: BeforeSplit | None

    def update_batches(self, *, size: int, seed: int) -> list[list[int]]:
        """Settle which training pairs share an update.

        Args:
            size: pairs in an update.
            seed: of the shuffle.

        Returns:
            Positions of each batch's pairs, the longest first.
        """
        return longest_first(update_batches(len(self.training), size=size, seed=seed), self.training)


def comparison_data(
    pairs: PairInput,
    probe: PairInput | None,
    tokenizer: PreTrainedTokenizerBase,
    *,
    fraction: float,
    max_length: int,
    limit: int | None,
    seed: int,
) -> ComparisonData:
    """Tokenise the pairs and hold some out.

    Args:
        pairs: all there are.
        probe: held-out pairs; None to hold out a share of the others.
        tokenizer: of the model.
        fraction: of the pairs to hold out, without `probe`.
        max_length: tokens after which a sequence is cut.
        limit: take a random sample of so many pairs.
        seed: of the sample and the split.

    Returns:
        Both kinds of pairs, and what became of the others.
    """
    source = pair_source(pairs)
    tokenized, used = sample_pairs(source, tokenizer, max_length=max_length, limit=limit, seed=seed)
    if probe is None:
        return _split(source, tokenized, used, fraction=fraction, max_length=max_length, seed=seed)
    given = pair_source(probe)
    read, all_probes = sample_pairs(given, tokenizer, max_length=max_length, limit=None, seed=seed)
    held_out, known = without_training_pairs(all_probes, used)
    probe_provenance = data_provenance(given, read, held_out, max_length=max_length)
    seen = len(all_probes) - len(held_out)
    dropped = probe_provenance.dropped | ({"also a training pair": seen} if seen else {})
    noted = probe_provenance.noted | ({"prompt of a training pair": known} if known else {})
    return ComparisonData(
        tuple(used), tuple(held_out), data_provenance(source, tokenized, used, max_length=max_length),
        replace(probe_provenance, sampled=probe_provenance.sampled + seen, dropped=dropped, noted=noted), None,
    )  # fmt: skip


def _split(
    source: PairSource,
    tokenized: TokenizedPairs,
    used: Sequence[TokenizedPair],
    *,
    fraction: float,
    max_length: int,
    seed: int,
) -> ComparisonData:
    """Hold pairs out. What was dropped before is of neither side; notes are of the side that their pairs are on."""
    training, held_out = split_pairs(used, fraction=fraction, seed=seed)
    whole = data_provenance(source, tokenized, used, max_length=max_length)

    def side(pairs: Sequence[TokenizedPair], name: str) -> DataProvenance:
        fingerprint = pairs_fingerprint(p.pair for p in pairs)
        return replace(whole, source=name, fingerprint=fingerprint, pairs=len(pairs), dropped={},
                       noted=count_notes(pairs))  # fmt: skip

    return ComparisonData(
        tuple(training), tuple(held_out), side(training, whole.source), side(held_out, f"{whole.source}, held out"),
        BeforeSplit(whole.dropped, dict(source.noted)),
    )  # fmt: skip
