"""Models that change in place what went into a module or came out of it, as Falcon does."""

import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from preflens import batch_gram, pair_gram
from preflens.gram import brute_force_batch_gram, observe_backward
from preflens.gram.capture.calls import CHANGED
from preflens.gram.readers.owner_search import PLACES
from tests.cases.layers import LinearByAnotherName, Quadratic
from tests.support.grams import assert_close, assert_pairs_close

X = torch.randn(6, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class LinearChild(nn.Linear):
    """Known by its numbers only."""


class FirstThen(nn.Module):
    """A layer, and then something in place."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.out = layer, nn.Linear(4, 1)

    def forward(self, x):
        hidden = self.layer(x)
        hidden += 1.5  # of the very tensor that the layer returned
        hidden *= x
        return self.out(torch.tanh(hidden)).sum((1, 2))


LAYERS = {
    "linear": lambda: nn.Linear(4, 4),
    "child of linear": lambda: LinearChild(4, 4),
    "linear by another name": lambda: LinearByAnotherName(4, 4),
    "layer norm": lambda: nn.LayerNorm(4),
    "rms norm": lambda: LlamaRMSNorm(4),
    "unknown": lambda: Quadratic(4),
}


@pytest.mark.parametrize("name", LAYERS)
def test_an_output_may_be_changed_in_place(name):
    module = FirstThen(LAYERS[name]()).double()
    tolerance = 1e-6 if name == "rms norm" else 1e-12  # it computes in float32
    expected = brute_force_batch_gram(module, lambda: module(X))
    assert_close(batch_gram(module, lambda: module(X)), expected, tolerance)
    assert_pairs_close(pair_gram(module, lambda: module(X)), expected.pair_gram(), tolerance)
    with observe_backward(module, products="batch") as observer:
        (observer.logps(module(X)) * torch.arange(1, 7)).sum().backward()
    assert_close(observer.batch_gram(), expected, tolerance)
    assert not PLACES.get(module)


def test_a_norm_whose_output_is_changed_is_computed_again_from_its_input():
    module = FirstThen(LlamaRMSNorm(4)).double()
    pair_gram(module, lambda: module(X))
    assert module.layer in CHANGED


class Shift(nn.Module):
    """Its gradient needs no input."""

    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.randn(4))

    def forward(self, x):
        return x + self.by


class ChangesWhatWentIn(nn.Module):
    """The input of a layer is written to after its call."""

    def __init__(self, layer):
        super().__init__()
        self.first, self.layer, self.out = nn.Linear(4, 4), layer, nn.Linear(4, 1)

    def forward(self, x):
        given = torch.zeros_like(x)
        given += x
        hidden = self.first(x) * self.layer(given)
        given *= 0
        return self.out(torch.tanh(hidden)).sum((1, 2))


def test_an_input_that_is_changed_in_place_is_read_off_the_module_around():
    module = ChangesWhatWentIn(Shift()).double()
    expected = brute_force_batch_gram(module, lambda: module(X))
    assert_close(batch_gram(module, lambda: module(X)), expected, 1e-12)
    assert PLACES[module] == {"layer.by": ""}


class SharedShift(ChangesWhatWentIn):
    """Another module that is called owns the same parameter."""

    def __init__(self):
        super().__init__(Shift())
        self.again = Shift()
        self.again.by = self.layer.by

    def forward(self, x):
        return super().forward(self.again(x))


def test_a_use_within_a_call_that_is_read_off_anyway_counts_once():
    module = SharedShift().double()
    expected = brute_force_batch_gram(module, lambda: module(X))
    assert_close(batch_gram(module, lambda: module(X)), expected, 1e-12)


def test_a_model_that_autograd_cannot_differentiate_is_refused_by_name():
    module = ChangesWhatWentIn(Quadratic(4)).double()
    with pytest.raises(TypeError, match="What went into a `Quadratic` or came out of it is changed in place later"):
        batch_gram(module, lambda: module(X))
