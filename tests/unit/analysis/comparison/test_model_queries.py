"""Passes of a comparison: pairs come back in the order of the data."""

import pytest
import torch

from preflens.language_models.parameters import observing
from tests.cases.comparisons import model_queries, tokenized
from tests.cases.language_models import tiny_model
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS


@pytest.fixture
def queries():
    model = tiny_model()
    with observing(model, "ln_f"):
        yield model_queries(model)


def test_the_rollout_follows_whole_update_batches_and_a_sample_of_the_held_out_pairs(queries):
    pairs, held_out = tokenized(TEXT_ROWS), tokenized(PROBE_ROWS)
    setup = queries.rollout_setup([pairs[:2], pairs[2:4], pairs[4:]], held_out, pairs=5, seed=0)
    assert setup.counts == (4, 3)
    assert setup.followed.batches == ((0, 1), (2, 3))
    followed = [pair for part in setup.held_out.pairs for pair in part]
    assert [followed[i].pair.id for i in setup.in_order] == [p.pair.id for p in held_out]
    assert queries.rollout_setup([pairs], held_out, pairs=1, seed=0).counts == (6, 1)  # one batch at least


def test_changes_of_single_pairs_are_in_the_order_of_the_held_out_pairs(queries):
    pairs, held_out = tokenized(TEXT_ROWS[:2]), tokenized(PROBE_ROWS)
    signed = torch.tensor([[[1.0, 0.5], [-1.0, 0.0]]], dtype=torch.float64)
    forward, backward = (queries.per_pair([pairs], rows, signed) for rows in (held_out, held_out[::-1]))
    torch.testing.assert_close(forward, backward.flip(2))


def test_products_are_in_the_order_of_the_batches(queries):
    pairs, held_out = tokenized(TEXT_ROWS[:2]), tokenized(PROBE_ROWS)
    one, other = (queries.products([[pairs[i]] for i in order], held_out) for order in ((0, 1), (1, 0)))
    torch.testing.assert_close(one, other.flip(2))
