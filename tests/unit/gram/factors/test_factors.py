"""Each kind of factor, formed and scaled, against sums written out."""

import torch

from preflens.gram.factors.factors import EmbeddingRows, Materialized, OnDemand, OuterProductSum

R, T, IN, OUT = 3, 4, 2, 5


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_an_outer_product_sum_is_the_gradient_of_a_linear_map():
    x, d = drawn(R, T, IN), drawn(R, T, OUT)
    weight, bias = drawn(OUT, IN).requires_grad_(), drawn(OUT).requires_grad_()
    rows = []
    for i in range(R):
        value = (torch.nn.functional.linear(x[i], weight, bias) * d[i]).sum()
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, [weight, bias])]))
    expected = torch.stack(rows)
    torch.testing.assert_close(OuterProductSum(x, d, with_bias=True).dense(), expected)
    torch.testing.assert_close(OuterProductSum(x, d).dense(), expected[:, : OUT * IN])
    transposed = expected[:, : OUT * IN].unflatten(1, (OUT, IN)).mT.flatten(1)
    torch.testing.assert_close(OuterProductSum(x, d, input_first=True).dense(), transposed)


def test_embedding_rows_are_the_gradient_of_a_table_also_where_an_entry_is_repeated():
    ids, d = torch.tensor([[0, 2, 0, 1], [1, 1, 1, 1], [2, 0, 1, 2]]), drawn(R, T, OUT)
    table = drawn(3, OUT).requires_grad_()
    expected = [torch.autograd.grad((table[ids[i]] * d[i]).sum(), table)[0].flatten() for i in range(R)]
    torch.testing.assert_close(EmbeddingRows(ids, d, 3).dense(), torch.stack(expected))


def test_every_kind_is_scaled_response_by_response():
    by = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    values = drawn(R, 6)
    factors = [
        OuterProductSum(drawn(R, T, IN), drawn(R, T, OUT), with_bias=True),
        EmbeddingRows(torch.randint(3, (R, T)), drawn(R, T, OUT), 3),
        Materialized(values),
        OnDemand(R, lambda i: values[i]),
    ]
    for factor in factors:
        torch.testing.assert_close(factor.scaled(by).dense(), by[:, None] * factor.dense())
