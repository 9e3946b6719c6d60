"""Families of models that are no plain stack of known layers: exact too, though some of it is slow."""

import pytest
import torch
from torch import nn

from preflens import batch_gram, pair_gram
from preflens.gram import brute_force_batch_gram, brute_force_pair_gram, directional_derivatives, observe_backward
from preflens.gram.readers.first_order_changes import changes_along_updates
from preflens.gram.readers.owner_search import PLACES
from preflens.gram.readers.stored_gradients import per_response_gradients
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from tests.cases.families import FAMILIES, tiny_family
from tests.support.grams import (
    FLOAT32_ISLANDS,
    assert_close,
    assert_pairs_close,
    batch_of,
    dpo_loss,
    reference,
    ways,
)  # fmt: skip
from tests.support.rows import tokenized

ROWS = [
    {"prompt": "the sky is", "chosen": " blue", "rejected": " green and the sea"},
    {"prompt": "yes", "chosen": " no maybe", "rejected": " positive"},
]
# A convolution that is not called; experts in another order than the tokens, and a method in place of a call; streams
# beside the axis of responses; a parameter with two uses; parameters that are factors of a weight.
SOME = ["mamba2", "jetmoe", "gemma3n_text", "trainable tokens, tied", "lora on experts"]

every_family = pytest.mark.parametrize("name", FAMILIES)
some_families = pytest.mark.parametrize("name", SOME)


@every_family
def test_every_family_equals_brute_force(name):
    model, batch = FAMILIES[name](), batch_of(tokenized(ROWS))
    expected = reference(model, batch)
    for forward in ways(model, batch).values():
        assert_close(batch_gram(model, forward), expected, FLOAT32_ISLANDS)
        assert_pairs_close(pair_gram(model, forward), expected.pair_gram(), FLOAT32_ISLANDS)


@some_families
def test_every_block_equals_brute_force(name):
    model, batch = FAMILIES[name](), batch_of(tokenized(ROWS))
    expected = reference(model, batch, by="module")
    scale = expected.total().matrix.diagonal().sqrt()
    found = batch_gram(model, lambda: response_logps(model, batch), by="module")
    assert found.blocks == expected.blocks
    assert ((found.matrix - expected.matrix).abs() <= FLOAT32_ISLANDS * torch.outer(scale, scale)).all()


@some_families
@pytest.mark.parametrize("memory", [None, 2e4], ids=["kept", "in groups"])
def test_several_passes_equal_one(name, memory):
    model, pairs = FAMILIES[name](), tokenized(ROWS)
    expected = reference(model, collate(pairs, pad_token_id=0))
    parts = [collate([pair], pad_token_id=0) for pair in pairs]
    forwards = [lambda part=part: response_logps(model, part) for part in parts]
    assert_close(batch_gram(model, forwards, memory=memory), expected, FLOAT32_ISLANDS)


@some_families
def test_products_with_updates_equal_those_of_every_gradient(name):
    model, batch = FAMILIES[name](), batch_of(tokenized(ROWS))
    parameters = [p for p in model.parameters() if p.requires_grad]
    update = [torch.randn_like(p) for p in parameters]
    by_parameter = dict(zip(parameters, update, strict=True))
    values = response_logps(model, batch)
    gradients = [torch.autograd.grad(v, parameters, retain_graph=True, materialize_grads=True) for v in values]
    expected = torch.tensor([[sum((g * u).sum() for g, u in zip(row, update, strict=True)) for row in gradients]])
    allowed = FLOAT32_ISLANDS * expected.abs().max()
    found = directional_derivatives(model, lambda: response_logps(model, batch), [update])
    assert (found - expected).abs().max() <= allowed
    kept = per_response_gradients(model, lambda: response_logps(model, batch), pin=True)
    (changes,) = changes_along_updates([kept], lambda p, rows: [by_parameter[p][rows]], directions=1)
    assert (changes - expected).abs().max() <= allowed


@some_families
def test_an_observer_equals_brute_force_once_it_is_known_where_gradients_are_read_off(name):
    model, batch = FAMILIES[name](), batch_of(tokenized(ROWS))
    expected = reference(model, batch)
    pair_gram(model, lambda: response_logps(model, batch))
    with observe_backward(model, products="batch") as observer:
        dpo_loss(observer.logps(response_logps(model, batch))).backward()
    assert_close(observer.batch_gram(), expected, FLOAT32_ISLANDS)
    parameters = [p for p in model.parameters() if p.requires_grad]
    plain = torch.autograd.grad(dpo_loss(response_logps(model, batch)), parameters, allow_unused=True)
    for p, gradient in zip(parameters, plain, strict=True):
        assert (p.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(p.grad, gradient)


def test_an_observer_that_misses_a_gradient_says_so():
    model, batch = tiny_family("mamba2"), batch_of(tokenized(ROWS))
    with observe_backward(model) as observer:
        dpo_loss(observer.logps(response_logps(model, batch))).backward()
    with pytest.raises(TypeError, match="mixer.conv1d.weight` gets a gradient in this step, but not through a call"):
        observer.pair_gram()


def test_only_what_has_to_be_is_read_off_another_module():
    model, batch = tiny_family("mamba2"), batch_of(tokenized(ROWS))
    pair_gram(model, lambda: response_logps(model, batch))
    assert PLACES[model] == {
        f"backbone.layers.{layer}.mixer.conv1d.{name}": f"backbone.layers.{layer}.mixer"
        for layer in (0, 1)
        for name in ("weight", "bias")
    }


def test_where_gradients_are_read_off_is_found_out_once(monkeypatch):
    model, batch = tiny_family("jetmoe"), batch_of(tokenized(ROWS))
    pair_gram(model, lambda: response_logps(model, batch))
    monkeypatch.setattr("preflens.gram.readers.placement.relocate", None)
    assert_close(batch_gram(model, lambda: response_logps(model, batch)), reference(model, batch), FLOAT32_ISLANDS)


def test_streams_beside_the_axis_of_responses_are_told_apart_even_where_there_are_as_many():
    model = tiny_family("gemma3n_text")
    for pairs in (tokenized(), tokenized(ROWS)):  # 12 responses, and 4 beside 4 streams
        batch = batch_of(pairs)
        found = batch_gram(model, lambda batch=batch: response_logps(model, batch))
        assert_close(found, reference(model, batch), FLOAT32_ISLANDS)
        assert set(PLACES[model].values()) == {"model.layers.0", "model.layers.1"}


class Odd(nn.Module):
    """Rows of four responses cannot be told apart in its inner module, those of others can."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = Inner(), nn.Linear(4, 1)

    def forward(self, x):
        return self.out(self.inner(x, torch.arange(4.0, dtype=x.dtype))).squeeze(1)


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4))

    def forward(self, x, by):
        return torch.tanh(x * self.weight.sum(0) + by)


def test_a_later_pass_may_ask_for_another_place_than_the_first():
    module = Odd().double()
    x = torch.randn(10, 4, dtype=torch.float64)
    forwards = [lambda: module(x[:6]), lambda: module(x[6:])]
    updates = [[torch.randn_like(p) for p in module.parameters()]]
    expected = brute_force_batch_gram(module, forwards)
    parts = [brute_force_pair_gram(module, forward) for forward in forwards]
    assert_pairs_close(pair_gram(module, forwards[0]), parts[0], 1e-12)
    assert module not in PLACES
    for ask in (
        lambda: assert_close(batch_gram(module, forwards), expected, 1e-12),
        lambda: directional_derivatives(module, forwards[1], updates),
        lambda: assert_pairs_close(pair_gram(module, forwards[1]), parts[1], 1e-12),
    ):
        PLACES[module] = {}
        ask()
        assert PLACES[module]["inner.weight"] == ""
