"""Which pairs are sampled and share an update."""

import pytest

from preflens.analysis.batches import sampling_order, update_batches


@pytest.mark.parametrize(("count", "size"), [(10, 4), (8, 4), (3, 16), (1, 1)])
def test_update_batches_hold_every_pair_once(count, size):
    batches = update_batches(count, size=size, seed=0)
    assert sorted(i for batch in batches for i in batch) == list(range(count))
    assert all(len(batch) == size for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= size


def test_update_batches_are_fixed_by_the_seed_and_differ_between_seeds():
    assert update_batches(50, size=8, seed=1) == update_batches(50, size=8, seed=1)
    assert update_batches(50, size=8, seed=1) != update_batches(50, size=8, seed=2)


def test_the_sample_is_drawn_apart_from_the_batches():
    order = sampling_order(50, seed=1)
    assert sorted(order) == list(range(50))
    assert order == sampling_order(50, seed=1)
    assert order != [i for batch in update_batches(50, size=8, seed=1) for i in batch]
