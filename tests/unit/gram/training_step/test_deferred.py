"""Gradients whose weights are chosen after the backward pass."""

import pytest
import torch

from preflens.gram import brute_force_pair_gram
from preflens.gram.factors.scored_rows import score_once
from preflens.gram.training_step.deferred import defer_weighting
from tests.cases.head_model import HeadModel


def deferred(model, *, pairs):
    with defer_weighting(model, pairs=pairs) as gradients:
        head = model.head_input()
        gradients.on_forward(head)
        sent, *rest = gradients.through_head(head, torch.tensor([-0.5, -0.25, 0.5, 0.25]).double())
        assert rest == [None, None]
        head.hidden.backward(sent)
    return gradients


@pytest.mark.parametrize("pairs", [False, True])
def test_terms_are_the_gradients_of_single_responses_and_nothing_is_written(pairs):
    model = HeadModel()
    gradients = deferred(model, pairs=pairs)
    assert gradients.coefficients.tolist() == [-0.5, -0.25, 0.5, 0.25]
    assert gradients.responses == 4
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert {p for group in gradients.terms for p in group} == set(model.parameters())
    for group, terms in gradients.terms.items():
        rows = [torch.autograd.grad(v, group, retain_graph=True) for v in model.logps()]
        expected = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
        torch.testing.assert_close(sum(term.dense() for term in terms), expected)


def test_products_within_pairs_are_those_of_brute_force():
    model = HeadModel()
    expected = brute_force_pair_gram(model, model.logps)
    torch.testing.assert_close(deferred(model, pairs=True).pair_gram().inner_product, expected.inner_product)


def test_parameters_that_are_unfrozen_inside_can_be_frozen_again():
    model = HeadModel()
    with defer_weighting(model, pairs=False) as gradients:
        model.requires_grad_(True)  # as PEFT does when it enables an adapter
        gradients.keep_frozen()
        assert not any(p.requires_grad for p in model.parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_scores_that_are_kept_are_not_computed_again():
    model = HeadModel()
    with defer_weighting(model, pairs=False) as gradients:
        head = model.head_input()
        scored = score_once(head)
        gradients.on_forward(head)
        sent, *_ = gradients.through_head(head, torch.ones(4).double(), scored)
        head.hidden.backward(sent)
        ((columns, scores),) = gradients.slices(scored[0])
    assert columns == slice(0, 5)
    assert scores is scored[1]
