"""What the audits find: modules that mix responses, and parameters whose gradients no module's call explains."""

import re

import pytest
import torch
from torch import nn

from preflens import batch_gram, pair_gram
from preflens.errors import AuditError
from preflens.gram import brute_force_batch_gram, brute_force_pair_gram, directional_derivatives, observe_backward
from preflens.language_models.model import check_rows_are_independent
from preflens.language_models.parameters import select_parameters
from tests.cases.language_models import tiny_model
from tests.support.grams import assert_close, assert_pairs_close

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
    assert_pairs_close(pair_gram(module, lambda: module(X)), brute_force_pair_gram(module, lambda: module(X)), 1e-12)


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


def test_a_parameter_used_without_its_module_is_read_off_the_module_around_it():
    module = Bypassed(also_called=False).double()
    expected = brute_force_batch_gram(module, lambda: module(X), by="module")
    found = batch_gram(module, lambda: module(X), by="module")
    assert found.blocks == expected.blocks == ("layer", "out")
    torch.testing.assert_close(found.matrix, expected.matrix, rtol=1e-12, atol=1e-12)
    with observe_backward(module, products="batch") as observer:
        (observer.logps(module(X)) * torch.arange(1, 7)).sum().backward()
    assert_close(observer.batch_gram(), expected.total(), 1e-12)


def test_a_parameter_used_outside_of_all_modules_is_refused_by_name_with_the_choice_of_all_others():
    module = nn.ModuleDict({"layer": nn.Linear(4, 4), "out": nn.Linear(4, 1)}).double()

    def forward():
        return module["out"](torch.tanh(nn.functional.linear(X, module["layer"].weight))).squeeze(1)

    with pytest.raises(
        TypeError, match=r"Parameter `layer.weight` influences the log-probs, but not through a call"
    ) as e:
        pair_gram(module, forward)
    expression = re.search(r"chooses all others by '(.*)'", str(e.value)).group(1)
    for p in select_parameters(module, "all") - select_parameters(module, expression):
        p.requires_grad_(False)
    assert [name for name, p in module.named_parameters() if p.requires_grad] == [
        "layer.bias",
        "out.weight",
        "out.bias",
    ]
    assert_pairs_close(pair_gram(module, forward), brute_force_pair_gram(module, forward), 1e-12)


def test_a_parameter_used_beside_its_module_fails_the_audit():
    module = Bypassed(also_called=True).double()
    for ask in (pair_gram, batch_gram):
        with pytest.raises(AuditError, match="`layer` differ from autograd's"):
            ask(module, lambda: module(X))
    with pytest.raises(AuditError, match="`layer` differ from autograd's"):
        directional_derivatives(module, lambda: module(X), [[torch.ones_like(p) for p in module.parameters()]])


class Doubling(nn.Linear):
    """Says linear, computes twice that."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_a_child_of_a_known_class_is_not_taken_at_its_word():
    module = nn.Sequential(Doubling(4, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    found = batch_gram(module, lambda: module(X).squeeze(1))
    assert_close(found, brute_force_batch_gram(module, lambda: module(X).squeeze(1)), 1e-12)


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


class OnlyTogether(nn.Module):
    """Cannot be called with fewer rows."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(4, dtype=torch.float64))

    def forward(self, x):
        if len(x) < 6:
            raise ValueError("six rows, please\nor more")
        return (x * self.w).tanh().sum(1)


def test_an_exception_in_a_repeated_call_is_a_named_error():
    module = OnlyTogether()
    with pytest.raises(
        TypeError, match=r"`OnlyTogether` cannot be called .* of response 0 alone .ValueError: six rows, please., so"
    ):
        pair_gram(module, lambda: module(X))
    around = nn.Sequential(nn.Linear(4, 4), OnlyTogether()).double()
    with pytest.raises(TypeError, match="`OnlyTogether` cannot be called"):
        pair_gram(around, lambda: around(X))


class Paired(nn.Module):
    """Sorts its rows inside; its own calls say nothing about single responses, those around it do."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        order = x[:, 0].argsort(descending=True)
        hidden = self.inner(torch.cat([x[order], x[order][:1]]))[:-1]
        return self.out(torch.tanh(hidden[order.argsort()])).squeeze(1)


def test_rows_that_cannot_be_told_apart_in_a_module_can_be_around_it():
    module = Paired().double()
    found = batch_gram(module, lambda: module(X))
    assert_close(found, brute_force_batch_gram(module, lambda: module(X)), 1e-12)


class NamedExperts(nn.Module):
    """The tokens of six responses go to three experts: seven, six and five of them."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleDict({name: nn.Linear(4, 4) for name in ("a", "b", "c")})

    def forward(self, x):
        flat = x.flatten(0, 1)
        parts = zip(self.experts.values(), self.share(flat), strict=True)
        out = torch.zeros_like(flat)
        for expert, here in parts:
            out = out.index_add(0, here, torch.tanh(expert(flat[here])))
        return out.unflatten(0, x.shape[:2])

    def share(self, flat):
        """Each token knows by its first number where it belongs."""
        return [(flat[:, 0].round() == number).nonzero()[:, 0] for number in range(3)]


def test_rows_that_can_be_told_apart_by_accident_are_not_trusted_beside_those_that_cannot():
    module = nn.Sequential(NamedExperts(), nn.Flatten(), nn.Linear(12, 1)).double()
    x = torch.randn(18, 4, dtype=torch.float64)
    x[:, 0] = torch.tensor([0] * 7 + [1] * 6 + [2] * 5)[torch.randperm(18)]
    x = x.unflatten(0, (6, 3))
    found = batch_gram(module, lambda: module(x).squeeze(1))
    assert_close(found, brute_force_batch_gram(module, lambda: module(x).squeeze(1)), 1e-12)
