"""Compact factors, and factors of several passes put together."""

import pytest
import torch

from preflens.gram.factors.factors import EmbeddingRows, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import softmax_rows
from preflens.gram.factors.storage import bytes_of, compact, join_responses, tensors_of
from preflens.types import HeadInput


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def outer(responses, rows):
    return OuterProductSum(drawn(responses, rows, 3), drawn(responses, rows, 2), with_bias=True)


def lookup(responses, rows):
    return EmbeddingRows(torch.randint(4, (responses, rows)), drawn(responses, rows, 2), 4)


def scored(responses, rows):
    draw = torch.Generator().manual_seed(responses)
    index = torch.arange(responses).repeat_interleave(rows)
    hidden = torch.randn(len(index), 3, generator=draw, dtype=torch.float64)
    weight = torch.ones(5, 3, dtype=torch.float64) * torch.arange(5)[:, None]
    return softmax_rows(HeadInput(hidden, weight, index % 5, index, responses))


def test_compact_factors_are_the_same_gradients_in_their_smaller_form():
    layout = Layout(2, (1, 3), (1, 4), 0, width=6)
    factor = OuterProductSum(drawn(2, 6, 8), drawn(2, 6, 8))
    factor.grads[:, 0] = factor.grads[:, 4:] = 0  # rows that carry no gradient
    cut = compact(factor, layout)
    assert cut.inputs.shape == (2, 3, 8)
    torch.testing.assert_close(cut.dense(), factor.dense())
    narrow = OuterProductSum(drawn(2, 6, 2), drawn(2, 6, 2))
    formed = compact(narrow, Layout(2))
    assert isinstance(formed, Materialized)  # 4 numbers instead of 24
    torch.testing.assert_close(formed.values, narrow.dense())


def test_bytes_count_what_is_stored_and_not_the_weight_of_a_head():
    assert bytes_of(Materialized(drawn(2, 5))) == 80
    assert bytes_of(lookup(2, 3)) == 2 * 3 * 8 + 2 * 3 * 2 * 8
    rows = scored(2, 3)
    assert tensors_of(rows) == [rows.head.hidden]
    assert tensors_of(OnDemand(2, lambda _: drawn(3))) == []


@pytest.mark.parametrize("make", [outer, lookup, scored], ids=["outer", "look-up", "head"])
def test_terms_of_passes_of_unequal_length_are_put_one_after_the_other(make):
    passes = [[make(2, 3)], [make(4, 5)]]
    numel = passes[0][0].dense().shape[1]
    (joined,) = join_responses(passes, [2, 4], numel=numel)
    assert type(joined) is type(passes[0][0])
    torch.testing.assert_close(joined.dense(), torch.cat([terms[0].dense() for terms in passes]))


def test_gradients_on_demand_are_asked_of_their_own_pass():
    passes = [[OnDemand(2, lambda i: torch.tensor([float(i)]))], [OnDemand(2, lambda i: torch.tensor([10.0 + i]))]]
    (joined,) = join_responses(passes, [2, 2], numel=1)
    assert joined.dense().flatten().tolist() == [0, 1, 10, 11]


def test_terms_of_different_kinds_are_formed_and_a_pass_without_any_has_zeros():
    like = outer(2, 3)
    (joined,) = join_responses([[like], [Materialized(like.dense())], []], [2, 2, 2], numel=8)
    torch.testing.assert_close(joined.dense(), torch.cat([like.dense(), like.dense(), torch.zeros(2, 8)]))
