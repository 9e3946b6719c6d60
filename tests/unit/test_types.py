"""Grams, coefficients and changes: sums, orders, and values that are refused."""

import pytest
import torch

from preflens.errors import NumericalError, UnsupportedObjectiveError
from preflens.pair_logps import TokenCoefficients
from preflens.types import BatchGram, LogpChange, PairCoefficients, PairGram

# Gradients of two chosen responses, then of their rejected responses, in two blocks of one and two parameters.
GRADIENTS = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0], [3.0, 0.0, 4.0], [1.0, 1.0, 0.0]]).double()
BLOCKS = torch.stack([GRADIENTS[:, :1] @ GRADIENTS[:, :1].T, GRADIENTS[:, 1:] @ GRADIENTS[:, 1:].T])


def blocked():
    return BatchGram(BLOCKS, torch.zeros(4).double(), ("a", "b"))


def test_a_batch_gram_contains_the_gram_of_each_pair():
    gram = blocked().pair_gram()
    assert gram.blocks == ("a", "b")
    assert gram.total().chosen_sq_norm.tolist() == [5.0, 2.0]
    assert gram.total().rejected_sq_norm.tolist() == [25.0, 2.0]
    assert gram.total().inner_product.tolist() == [3.0, 1.0]
    assert torch.equal(blocked().total().matrix, GRADIENTS @ GRADIENTS.T)
    assert blocked().total().total().blocks is None


def test_stacked_products_are_the_entries_of_a_pair_gram():
    products = torch.tensor([[5.0, 2.0], [25.0, 2.0], [3.0, 1.0]]).double()
    gram = PairGram.from_products(products)
    assert gram.inner_product.tolist() == [3.0, 1.0]
    blocks = PairGram.from_products(products.expand(2, 3, 2), ("a", "b"))
    assert blocks.chosen_sq_norm.shape == (2, 2)
    assert blocks.total().rejected_sq_norm.tolist() == [50.0, 4.0]


def test_grams_are_joined_pair_after_pair_and_keep_their_blocks():
    whole = blocked().pair_gram()
    entries = ("chosen_sq_norm", "rejected_sq_norm", "inner_product")
    parts = [PairGram(*(getattr(whole, entry)[:, k : k + 1] for entry in entries), whole.blocks) for k in (0, 1)]
    joined = PairGram.concatenate(parts)
    assert joined.blocks == whole.blocks
    assert all(torch.equal(getattr(joined, entry), getattr(whole, entry)) for entry in entries)


def test_the_cosine_of_a_zero_gradient_does_not_exist():
    gram = PairGram.from_products(torch.tensor([[0.0, 4.0], [1.0, 9.0], [0.0, -6.0]]).double())
    assert gram.cosine[0].isnan()
    assert gram.cosine[1] == -1


@pytest.mark.parametrize("entries", [(-1.0, 1.0, 0.0), (1.0, 1.0, 1.1)], ids=["negative norm", "Cauchy-Schwarz"])
def test_a_gram_that_is_not_positive_semi_definite_is_refused_with_its_pair(entries):
    good = torch.tensor([1.0, 1.0, 0.5]).double()
    with pytest.raises(NumericalError, match="Gram of pair 1 .from 0. is not positive semi-definite"):
        PairGram.from_products(torch.stack([good, torch.tensor(entries).double()], dim=1))


def test_an_entry_that_is_not_finite_is_refused_with_its_place():
    matrix = torch.eye(2).double()
    matrix[1, 0] = torch.inf
    with pytest.raises(NumericalError, match=r"`matrix` is inf at index \(1, 0\)"):
        BatchGram(matrix, torch.zeros(2).double())


def test_signed_coefficients_are_minus_the_derivatives_of_the_loss():
    a = torch.tensor([1.0, 2.0, 0.5, -1.0]).double().requires_grad_()
    loss = -torch.nn.functional.logsigmoid(a[:2] - a[2:]).sum()
    (slope,) = torch.autograd.grad(loss, a)
    d = torch.sigmoid(a.detach()[2:] - a.detach()[:2])
    torch.testing.assert_close(PairCoefficients(d, d).signed(), -slope)


def test_coefficients_of_tokens_cannot_be_those_of_whole_responses():
    tokens = TokenCoefficients(torch.ones(1, 2).double(), torch.ones(1, 2).double())
    coefficients = PairCoefficients(torch.ones(1).double(), torch.ones(1).double(), tokens)
    with pytest.raises(UnsupportedObjectiveError, match="weighs the tokens of a response differently"):
        coefficients.signed()


def test_the_margin_changes_by_the_difference_of_both_changes():
    change = LogpChange(torch.tensor([1.0, -2.0]).double(), torch.tensor([0.25, -3.0]).double())
    assert change.margin.tolist() == [0.75, 1.0]
    assert change.part(slice(1, 2)).margin.tolist() == [1.0]
