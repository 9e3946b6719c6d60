"""The Gram of a training step's own backward pass."""

import pytest
import torch

from preflens.errors import InputError, UnsupportedModelError
from preflens.gram import brute_force_batch_gram, observe_backward
from tests.cases.head_model import HeadModel, X


def loss_of(logps):
    return -torch.nn.functional.logsigmoid(logps[:2] - logps[2:]).sum()


@pytest.mark.parametrize("way", ["logps", "head_input"])
def test_gram_coefficients_and_written_gradients_are_those_of_the_loss(way):
    model = HeadModel()
    expected = torch.autograd.grad(loss_of(model.logps()), list(model.parameters()))
    logps = model.logps().detach().requires_grad_()
    (coefficients,) = torch.autograd.grad(loss_of(logps), logps)
    with observe_backward(model, products="batch") as observer:
        assert not observer.observed
        loss_of(observer.logps(getattr(model, way)())).backward()
    torch.testing.assert_close(observer.coefficients, coefficients)
    for p, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient)
    reference = brute_force_batch_gram(model, model.logps, by="module")
    gram = observer.batch_gram(by="module")
    assert gram.blocks == reference.blocks
    torch.testing.assert_close(gram.matrix, reference.matrix)
    torch.testing.assert_close(gram.logps, reference.logps)


def test_products_within_pairs_alone():
    model = HeadModel()
    with observe_backward(model) as observer:
        loss_of(observer.logps(model.head_input())).backward()
    expected = brute_force_batch_gram(model, model.logps).pair_gram()
    torch.testing.assert_close(observer.pair_gram().inner_product, expected.inner_product)
    assert observer.pair_gram(by="layer").blocks == ("layer", "head")


def test_a_response_without_a_coefficient_needs_a_separate_pass():
    model = HeadModel()
    with observe_backward(model) as observer:
        logps = observer.logps(model.logps())
        (logps * torch.tensor([1.0, 0.0, -1.0, 1.0])).sum().backward()
    with pytest.raises(InputError, match="sends nothing back to response 1 .*Pass `fallback=forward`"):
        observer.pair_gram()
    expected = brute_force_batch_gram(model, model.logps).pair_gram()
    torch.testing.assert_close(observer.pair_gram(fallback=model.logps).chosen_sq_norm, expected.chosen_sq_norm)


def test_a_gradient_that_no_call_explains_is_refused_by_name():
    model = HeadModel()
    with observe_backward(model) as observer:
        logps = observer.logps(torch.tanh(X @ model.layer.weight.T).sum(1))
        loss_of(logps).backward()
    with pytest.raises(UnsupportedModelError, match="`layer.weight` gets a gradient in this step, but not through a"):
        observer.pair_gram()


def test_without_a_backward_pass_there_is_no_gram():
    with observe_backward(HeadModel()) as observer:
        pass
    with pytest.raises(InputError, match="saw no backward pass"):
        observer.pair_gram()
