"""Plain forward passes."""

import pytest
import torch
from torch import nn

from preflens.errors import AuditError
from preflens.gram.capture.plain_forward import called_modules, check_plain, plain_logps, running_modules

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.called, self.used, self.out = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        hidden = self.called(x) + nn.functional.linear(x, self.used.weight)
        if torch.is_grad_enabled():
            hidden = hidden * self.factor
        return self.out(self.drop(hidden)).squeeze(1)

    factor = 1.0


def test_a_plain_pass_has_no_graph_and_leaves_the_random_state():
    model = Model().train()
    before = torch.get_rng_state()
    logps = plain_logps(lambda: model(X))
    assert logps.dtype == torch.float64
    assert not logps.requires_grad
    assert torch.equal(torch.get_rng_state(), before)


def test_only_modules_that_are_called_count_as_called():
    model = Model()
    assert called_modules(model, lambda: model(X)) == {model, model.called, model.out, model.drop}
    with running_modules(model) as ran:
        model.called(X)
    assert ran == {model.called}
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_model_that_computes_something_else_without_gradients_is_refused_with_both_numbers():
    model = Model().eval()
    with torch.enable_grad():
        same = model(X).detach().double()
    check_plain(same, lambda: model(X), tolerance=1e-5)
    model.factor = 2.0
    with torch.enable_grad():
        other = model(X).detach().double()
    row = int(((same - other).abs() / (1 + same.abs())).argmax())
    with pytest.raises(AuditError, match=f"log-prob of response {row} is {float(other[row]):.6g} nats.*pass without"):
        check_plain(other, lambda: model(X), tolerance=1e-5)
