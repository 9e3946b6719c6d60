"""Training and held-out pairs of a comparison: every row is counted once, on the side it belongs to."""

from dataclasses import replace

from preflens.analysis.comparison.data import comparison_data
from preflens.language_models.reading import pairs_in_memory
from preflens.records.comparison_metadata import BeforeSplit
from tests.cases.language_models import tiny_tokenizer
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS

NOTES = {"same": "identical responses", "bound": "end of the prompt merged into the responses"}


def test_notes_are_of_the_side_that_their_pairs_are_on_and_drops_of_neither():
    source = replace(pairs_in_memory(TEXT_ROWS), rows=9, dropped={"bad row": 3}, noted={"repeated id": 2})
    sides = set()
    for seed in range(6):
        found = comparison_data(source, None, tiny_tokenizer(), fraction=0.4, max_length=20, limit=None, seed=seed)
        for pairs, metadata in (
            (found.training, found.training_provenance),
            (found.held_out, found.held_out_provenance),
        ):
            ids = [p.pair.id for p in pairs]
            assert metadata.noted == {NOTES[i]: 1 for i in ids if i in NOTES}
            assert (metadata.pairs, metadata.dropped) == (len(ids), {})
            sides |= {(i, metadata.source) for i in ids if i in NOTES}
        assert found.before_split == BeforeSplit(
            {"bad row": 3, "prompt fills the maximal length": 1}, {"repeated id": 2}
        )
    assert len(sides) == 4  # each of the two was on both sides


def test_update_batches_hold_every_training_pair_once_and_the_longest_first():
    data = comparison_data(TEXT_ROWS, PROBE_ROWS, tiny_tokenizer(), fraction=0.2, max_length=96, limit=None, seed=0)
    batches = data.update_batches(size=4, seed=1)
    assert sorted(i for batch in batches for i in batch) == list(range(6))
    assert [len(batch) for batch in batches] == [3, 3]
    for batch in batches:
        lengths = [data.training[i].longest for i in batch]
        assert lengths == sorted(lengths, reverse=True)
