"""Entry points of the engine, and layer rules that users hand in."""

from unittest.mock import patch

import pytest
import torch
from torch import nn

from preflens.errors import AuditError, InputError
from preflens.gram import (
    LAYER_RULES,
    LayerGradients,
    Materialized,
    batch_gram,
    brute_force_batch_gram,
    brute_force_pair_gram,
    directional_derivatives,
    observe_backward,
    pair_gram,
)
from preflens.gram.rules.any_module import any_module

X = torch.randn(4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


class Gain(nn.Module):
    """y = x ∘ tanh(w), which no rule of ours knows."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(2, dtype=torch.float64))

    def forward(self, x):
        return x * self.w.tanh()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain, self.out = Gain(), nn.Linear(2, 1, dtype=torch.float64)

    def forward(self, x):
        return self.out(torch.tanh(self.gain(x))).sum((1, 2))


def gain_rule(call, context):
    slope = 1 - call.module.w.detach().tanh().square()
    products = (call.args[0] * call.gradients[0]).reshape(context.responses, -1, 2)
    return [LayerGradients(("w",), Materialized(products.sum(1) * slope))]


def test_a_rule_of_the_user_gives_the_gradients_of_brute_force():
    model = Model()
    expected = brute_force_batch_gram(model, lambda: model(X))
    with patch("preflens.gram.rules.any_module", side_effect=any_module) as slow:
        found = batch_gram(model, lambda: model(X), rules={Gain: gain_rule})
        torch.testing.assert_close(found.matrix, expected.matrix)
        found = batch_gram(model, [lambda: model(X[[0, 2]]), lambda: model(X[[1, 3]])], rules={Gain: gain_rule})
        torch.testing.assert_close(found.matrix, expected.matrix)
        found = pair_gram(model, lambda: model(X), rules={Gain: gain_rule})
        torch.testing.assert_close(found.inner_product, expected.pair_gram().inner_product)
        update = [torch.ones_like(p) for p in model.parameters()]
        slopes = directional_derivatives(model, lambda: model(X), [update], rules={Gain: gain_rule})
        with observe_backward(model, products="batch", rules={Gain: gain_rule}) as observer:
            observer.logps(model(X)).sum().backward()
        torch.testing.assert_close(observer.batch_gram().matrix, expected.matrix)
        assert not slow.called
        torch.testing.assert_close(slopes, directional_derivatives(model, lambda: model(X), [update]))
        assert slow.called  # without the rule


def test_a_rule_is_called_once_per_call_of_its_layer_and_no_rule_of_ours_instead():
    model, calls = Model(), []

    def counted(call, context):
        calls.append((type(call.module), context.parameters, context.responses))
        return LAYER_RULES[nn.Linear](call, context)

    found = pair_gram(model, lambda: model(X), rules={nn.Linear: counted}, check=False)
    assert calls == [(nn.Linear, ("weight", "bias"), 4)]
    torch.testing.assert_close(found.inner_product, brute_force_pair_gram(model, lambda: model(X)).inner_product)


def test_a_wrong_rule_fails_the_audit_also_where_the_model_has_passed_it_with_another():
    model = Model()

    def forward():
        return model(X)

    def wrong(call, context):
        (part,) = gain_rule(call, context)
        return [LayerGradients(part.parameters, part.factor.scaled(torch.full((4,), 1.01)))]

    pair_gram(model, forward, rules={Gain: gain_rule})
    with pytest.raises(AuditError, match="`gain` differ from autograd's.*its layer rule promises"):
        pair_gram(model, forward, rules={Gain: wrong})


class Uncalled(nn.Module):
    """Uses the weight of a layer inside it, which it does not call."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2, bias=False, dtype=torch.float64)

    def forward(self, x):
        return (x @ self.inner.weight).sum((1, 2))


def test_a_rule_may_read_parameters_of_modules_inside_its_layer():
    model = Uncalled()

    def rule(call, context):
        assert context.parameters == ("inner.weight",)
        summed = call.args[0].sum(1)  # ∂a_i/∂W[j, k] = Σ_t x_tj
        return [LayerGradients(("inner.weight",), Materialized(summed.repeat_interleave(2, dim=1)))]

    expected = brute_force_pair_gram(model, lambda: model(X))
    with patch("preflens.gram.rules.any_module", side_effect=any_module) as slow:
        found = pair_gram(model, lambda: model(X), rules={Uncalled: rule})
    assert not slow.called
    torch.testing.assert_close(found.inner_product, expected.inner_product)


def test_an_odd_number_of_responses_is_refused():
    model = Model()
    with pytest.raises(InputError, match=r"as many rejected as chosen ones. Found shape \(3,\)"):
        pair_gram(model, lambda: model(X[:3]))
