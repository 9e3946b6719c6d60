"""Any module, called again for each response."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from preflens.errors import UnreadableGradientError
from preflens.gram.capture.calls import ModuleCall
from preflens.gram.rules.any_module import any_module
from preflens.gram.rules.base import RuleContext
from tests.cases.layers import Quadratic
from tests.support.drawn import drawn

X, D = drawn(3, 2, 4).float(), drawn(3, 2, 4, seed=1).float()


def parts_of(module, x=X, d=D):
    with torch.no_grad():
        output = module(x)
    call = ModuleCall(module, (x,), {}, (output,), (d,))
    names = tuple(name for name, _ in module.named_parameters())
    return any_module(call, RuleContext(3, names, frozenset(names), (names,), nullcontext))


def test_gradients_are_those_of_autograd_and_flags_come_back():
    module = Quadratic(4)
    module.v.requires_grad_(False)
    (part,) = parts_of(module)
    found = part.factor.dense()
    assert not module.v.requires_grad
    module.v.requires_grad_(True)
    for i in range(3):
        grads = torch.autograd.grad((module(X[i]) * D[i]).sum(), list(module.parameters()))
        torch.testing.assert_close(found[i], torch.cat([g.flatten() for g in grads]))


def test_a_response_is_differentiated_once_for_all_groups():
    module, calls = Quadratic(4), []
    module.register_forward_hook(lambda *_: calls.append(1))
    call = ModuleCall(module, (X,), {}, (module(X).detach(),), (D,))
    parts = any_module(call, RuleContext(3, ("w", "v"), frozenset(), (("w",), ("v",)), nullcontext))
    assert [part.parameters for part in parts] == [("w",), ("v",)]
    for part in parts:
        part.factor.dense()
    assert len(calls) == 1 + 3


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return (x - x.mean(0)) * self.w


def test_a_module_that_mixes_responses_is_refused():
    (part,) = parts_of(Mixing())
    with pytest.raises(UnreadableGradientError, match="`Mixing` gives response 1 another output alone") as error:
        part.factor.gradient(1)
    assert error.value.mixed


def test_memory_errors_are_not_taken_for_a_module_that_cannot_be_called_again(monkeypatch):
    module = Quadratic(4)
    (part,) = parts_of(module)

    def full(_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(module, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        part.factor.gradient(0)
