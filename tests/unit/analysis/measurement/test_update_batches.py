"""Which pairs are sampled and share an update."""

import pytest

from preflens.analysis.measurement.update_batches import sampling_order, update_batches


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [
        (24, 16, [12, 12]),
        (10, 4, [4, 3, 3]),
        (8, 4, [4, 4]),
        (17, 16, [9, 8]),
        (3, 16, [3]),
        (1, 1, [1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_update_batches_hold_every_pair_once_and_are_as_equal_as_can_be(count, size, sizes):
    batches = update_batches(count, size=size, seed=0)
    assert sorted(i for batch in batches for i in batch) == list(range(count))
    assert [len(batch) for batch in batches] == sizes


def test_update_batches_are_fixed_by_the_seed_and_differ_between_seeds():
    assert update_batches(50, size=8, seed=1) == update_batches(50, size=8, seed=1)
    assert update_batches(50, size=8, seed=1) != update_batches(50, size=8, seed=2)


def test_the_sample_is_drawn_apart_from_the_batches():
    order = sampling_order(50, seed=1)
    assert sorted(order) == list(range(50))
    assert order == sampling_order(50, seed=1)
    assert order != [i for batch in update_batches(50, size=8, seed=1) for i in batch]
