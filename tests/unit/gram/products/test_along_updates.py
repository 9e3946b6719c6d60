"""Inner products with updates, whole and in parts."""

import pytest
import torch

from preflens.gram.factors.factors import EmbeddingRows, Materialized, OnDemand, OuterProductSum
from preflens.gram.factors.scored_rows import softmax_rows
from preflens.gram.products import along_updates
from preflens.gram.products.along_updates import (
    formed_sliced_inner_products,
    inner_products_with_updates,
    partial_inner_products,
    parts_of,
    sliced_inner_products,
)
from preflens.types import HeadInput

IN, OUT, R = 3, 5, 4


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def factors():
    values = drawn(R, OUT * IN)
    return {
        "outer": (OuterProductSum(drawn(R, 2, IN), drawn(R, 2, OUT)), [(OUT, IN)]),
        "outer, input first": (OuterProductSum(drawn(R, 2, IN), drawn(R, 2, OUT), input_first=True), [(IN, OUT)]),
        "outer with bias": (OuterProductSum(drawn(R, 2, IN), drawn(R, 2, OUT), with_bias=True), [(OUT, IN), (OUT,)]),
        "look-up": (EmbeddingRows(torch.randint(OUT, (R, 2)), drawn(R, 2, IN), OUT), [(OUT, IN)]),
        "formed": (Materialized(values), [(OUT, IN)]),
        "on demand": (OnDemand(R, lambda i: values[i]), [(OUT, IN)]),
    }


@pytest.mark.parametrize("part", [1 << 19, 4], ids=["whole", "in parts"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", factors())
def test_products_with_updates_are_those_of_the_gradients(name, count, part, monkeypatch):
    monkeypatch.setattr(along_updates, "_PART", part)
    monkeypatch.setattr(along_updates, "_BLOCK", part)
    factor, shapes = factors()[name]
    updates = [[drawn(*shape) for shape in shapes] for _ in range(count)]
    flat = torch.stack([torch.cat([u.flatten() for u in update]) for update in updates])
    torch.testing.assert_close(inner_products_with_updates(factor, updates), flat @ factor.dense().T)


def test_parts_cover_every_row_once(monkeypatch):
    monkeypatch.setattr(along_updates, "_PART", 10)
    rows = torch.arange(11)
    parts = [rows[part] for part in parts_of(torch.zeros(11, 4))]
    assert len(parts) == 6  # two rows of four entries at a time
    assert torch.cat(parts).tolist() == rows.tolist()
    assert list(parts_of(torch.zeros(2, 5))) == [...]


def test_products_within_pairs_are_added_in_the_same_sweep():
    factor, _ = factors()["outer with bias"]
    products = torch.zeros(3, R // 2, dtype=torch.float64)
    for rows in (slice(0, 2), slice(2, 5)):
        partial_inner_products(factor, rows, [drawn(rows.stop - rows.start, IN)], offset=0, products=products)
    partial_inner_products(factor, ..., [drawn(OUT)], offset=OUT * IN, products=products)
    gram = factor.dense() @ factor.dense().T
    expected = [gram.diagonal()[:2], gram.diagonal()[2:], gram[:2, 2:].diagonal()]
    torch.testing.assert_close(products, torch.stack(expected))


def test_a_slice_of_a_head_is_multiplied_in_two_equal_ways():
    index = torch.tensor([0, 0, 1, 2, 3])
    rows = softmax_rows(HeadInput(drawn(5, IN), drawn(7, IN), torch.tensor([1, 6, 0, 2, 2]), index, responses=4))
    updates, columns = [drawn(7, IN) for _ in range(2)], slice(2, 6)
    dense = rows.dense().reshape(4, 7, IN)[:, columns]
    expected = torch.stack([(dense * u[columns]).sum((1, 2)) for u in updates])
    gradient = rows.gradient_at(columns)
    torch.testing.assert_close(sliced_inner_products(rows, gradient, [(u[columns], None) for u in updates]), expected)
    torch.testing.assert_close(formed_sliced_inner_products(rows, gradient, [u[columns] for u in updates]), expected)
    bias = drawn(4)
    by_response = torch.zeros(4, dtype=torch.float64).index_add(0, index, gradient @ bias)
    torch.testing.assert_close(sliced_inner_products(rows, gradient, [(None, bias)])[0], by_response)
