"""What the audits find: modules that mix responses, and parameters whose gradients no module's call explains."""

import pytest
import torch
from torch import nn

from preflens import batch_gram, directional, exact_batch_gram, exact_pair_gram, pair_gram
from preflens.errors import AuditError
from preflens.language_models.logps import response_logps
from preflens.language_models.model import check_rows_are_independent
from tests.cases.language_models import tiny_model
from tests.laws.test_engine import assert_close, assert_pairs_close, batch_of
from tests.laws.test_gram import tokenized

X = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# Statistics over the batch


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(4), nn.Linear(4, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.norm(x))).squeeze(1)


def test_batch_norms_are_refused_in_training_and_exact_in_evaluation():
    module = Normed().double()
    module.norm.running_var.fill_(2.0)
    with pytest.raises(TypeError, match="`norm` .a `BatchNorm1d` in training mode. takes statistics over the batch"):
        pair_gram(module, lambda: module(X))
    module.eval()
    assert_pairs_close(pair_gram(module, lambda: module(X)), exact_pair_gram(module, lambda: module(X)), 1e-12)


def test_router_losses_are_refused_by_name():
    model = tiny_model("mixtral", output_router_logits=True)
    with pytest.raises(TypeError, match="`output_router_logits` on: its auxiliary loss"):
        check_rows_are_independent(model)
    check_rows_are_independent(tiny_model("mixtral"))


class Mixing(nn.Module):
    """Every response sees the mean of all: no response has a gradient of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, dtype=torch.float64))

    def forward(self, x):
        return (x * self.scale - (x * self.scale).mean(0)).tanh().sum(1)


def test_a_module_of_ones_own_that_mixes_responses_is_refused_by_name():
    module = Mixing()
    with pytest.raises(TypeError, match="`Mixing` gives response 0 another output alone than among the 6"):
        pair_gram(module, lambda: module(X))


class MixingBetween(nn.Module):
    """Responses meet between two honest layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        hidden = self.first(x)
        return self.second(torch.tanh(hidden - hidden.mean(0))).squeeze(1)


def test_responses_that_influence_each_other_fail_the_audit():
    module = MixingBetween().double()
    with pytest.raises(AuditError, match="`first` differ from autograd's.*responses influence each other"):
        pair_gram(module, lambda: module(X))


def test_rows_in_another_order_than_the_responses_fail_the_audit():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    pair_gram(module, lambda: module(X).squeeze(1))
    with pytest.raises(AuditError, match="differ from autograd's"):
        pair_gram(module, lambda: module(X).squeeze(1).roll(3))


# Coverage


class Bypassed(nn.Module):
    """A layer's weight is used without calling the layer."""

    def __init__(self, also_called):
        super().__init__()
        self.layer, self.also_called = nn.Linear(4, 4), also_called
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        hidden = nn.functional.linear(x, self.layer.weight)
        return self.out(torch.tanh(hidden + self.layer(x) if self.also_called else hidden)).squeeze(1)


def test_a_parameter_used_without_its_module_is_refused_by_name():
    module = Bypassed(also_called=False).double()
    with pytest.raises(TypeError, match="Parameter `layer.weight` influences the log-probs, but not through a call"):
        pair_gram(module, lambda: module(X))
    module.layer.requires_grad_(False)
    pair_gram(module, lambda: module(X))


def test_a_parameter_used_beside_its_module_fails_the_audit():
    module = Bypassed(also_called=True).double()
    for ask in (pair_gram, batch_gram):
        with pytest.raises(AuditError, match="`layer` differ from autograd's"):
            ask(module, lambda: module(X))
    with pytest.raises(AuditError, match="`layer` differ from autograd's"):
        directional(module, lambda: module(X), [[torch.ones_like(p) for p in module.parameters()]])


class Doubling(nn.Linear):
    """Says linear, computes twice that."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_a_child_of_a_known_class_is_not_taken_at_its_word():
    module = nn.Sequential(Doubling(4, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    found = batch_gram(module, lambda: module(X).squeeze(1))
    assert_close(found, exact_batch_gram(module, lambda: module(X).squeeze(1)), 1e-12)


def test_parameters_in_containers_that_are_never_called_are_refused_by_name():
    from peft import IA3Config, get_peft_model

    arguments = {"target_modules": ["k_proj", "v_proj"], "feedforward_modules": []}
    model = get_peft_model(tiny_model("llama"), IA3Config(task_type="CAUSAL_LM", **arguments))
    batch = batch_of(tokenized())
    with pytest.raises(TypeError, match="ia3_l.default` lies in a `ParameterDict`, which is never called"):
        pair_gram(model, lambda: response_logps(model, batch))


def test_a_module_that_returns_no_tensor_is_refused_by_name():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(4, dtype=torch.float64))

        def forward(self, x):
            return {"value": None}, x  # the parameter is used by the caller

    module = Odd()
    with pytest.raises(TypeError, match="`Odd` owns trainable parameters and returns no floating-point tensor"):
        pair_gram(module, lambda: (module(torch.arange(6)), (X * module.w).sum(1))[1])
