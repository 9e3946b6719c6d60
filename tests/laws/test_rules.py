"""Every layer rule equals brute force over drawn shapes, whichever of the exact forms is cheaper."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import preflens.gram.products.all_pairs as batch_products
import preflens.gram.products.within_pairs as pair_products
from preflens import batch_gram, pair_gram
from preflens.gram import brute_force_batch_gram
from preflens.gram.rules import LAYER_RULES
from preflens.gram.rules.any_module import any_module
from preflens.types import HeadInput, TokenRows
from tests.cases.layers import LAYERS, LOOKS_UP, spread
from tests.support.grams import assert_pairs_close

CLOSE = 1e-9
ISLANDS = 2e-6  # the RMS norms of transformers compute in float32

sizes = st.integers(1, 7)
every_layer = pytest.mark.parametrize("name", LAYERS)


def assert_close(found, expected, tolerance):
    scale = expected.matrix.diagonal().sqrt().clamp(min=1e-12)
    assert ((found.matrix - expected.matrix).abs() / torch.outer(scale, scale)).max() <= tolerance


def case(name, *, pairs, rows, width, out, flat=False):
    """A layer, and a forward pass whose numbers are not linear in its output."""
    torch.manual_seed(pairs + 10 * rows + 100 * width + 1000 * out)
    layer = spread(LAYERS[name](width, out)).double()
    shape = (2 * pairs, rows)
    given_ids = torch.randint(width + 2, shape)
    values = given_ids if name in LOOKS_UP else torch.randn(*shape, width, dtype=torch.float64)
    mixing = torch.randn(rows, dtype=torch.float64)

    def forward():
        output = layer(values.flatten(0, 1) if flat else values)
        output = output.unflatten(0, shape) if flat else output
        return (torch.tanh(output).sum(2) * mixing).sum(1)

    return layer, forward


def tolerance(name):
    return ISLANDS if "rms" in name else CLOSE


def test_every_rule_of_the_table_has_a_case():
    built = {type(make(3, 4)) for make in LAYERS.values()}
    assert set(LAYER_RULES) <= built


@every_layer
@settings(max_examples=15, deadline=None)
@given(pairs=st.integers(1, 3), rows=sizes, width=st.integers(2, 9), out=sizes)
def test_a_layer_equals_brute_force(name, pairs, rows, width, out):
    layer, forward = case(name, pairs=pairs, rows=rows, width=width, out=out)
    expected = brute_force_batch_gram(layer, forward)
    assert_close(batch_gram(layer, forward), expected, tolerance(name))
    assert_pairs_close(pair_gram(layer, forward), expected.pair_gram(), tolerance(name))


@every_layer
@pytest.mark.parametrize("ghost", [True, False], ids=["row Grams", "formed"])
def test_both_exact_forms_equal_brute_force(name, ghost, monkeypatch):
    layer, forward = case(name, pairs=3, rows=5, width=6, out=4)
    expected = brute_force_batch_gram(layer, forward)
    monkeypatch.setattr(pair_products, "ghost_is_cheaper", lambda *_, **__: ghost)
    assert_pairs_close(pair_gram(layer, forward), expected.pair_gram(), tolerance(name))


@every_layer
def test_small_blocks_change_nothing(name, monkeypatch):
    layer, forward = case(name, pairs=3, rows=5, width=6, out=4)
    expected = brute_force_batch_gram(layer, forward)
    for module in (pair_products, batch_products):
        monkeypatch.setattr(module, "_BLOCK", 1)
        monkeypatch.setattr(module, "_GRAM", 1)
    monkeypatch.setattr(batch_products, "PIECE", 3)
    assert_close(batch_gram(layer, forward), expected, tolerance(name))
    assert_pairs_close(pair_gram(layer, forward), expected.pair_gram(), tolerance(name))


@pytest.mark.parametrize("name", ["linear", "linear without bias", "linear by another name", "conv1d", "unknown"])
def test_rows_may_come_flattened(name):
    layer, forward = case(name, pairs=2, rows=5, width=6, out=4, flat=True)
    expected = brute_force_batch_gram(layer, forward)
    assert_close(batch_gram(layer, forward), expected, CLOSE)
    assert_pairs_close(pair_gram(layer, forward), expected.pair_gram(), CLOSE)


@pytest.mark.parametrize("name", ["linear", "linear by another name", "conv1d", "layer_norm", "unknown"])
@pytest.mark.parametrize("frozen", [0, 1])
def test_frozen_parts_of_a_layer_are_left_out(name, frozen):
    layer, forward = case(name, pairs=2, rows=3, width=6, out=4)
    list(layer.parameters())[frozen].requires_grad_(False)
    expected = brute_force_batch_gram(layer, forward)
    assert_close(batch_gram(layer, forward), expected, tolerance(name))
    assert_pairs_close(pair_gram(layer, forward), expected.pair_gram(), tolerance(name))


@every_layer
def test_what_can_be_known_is_known(name):
    """Only the unknown layer takes the slow way; a recognised one that silently did would still be exact."""
    layer, forward = case(name, pairs=2, rows=3, width=6, out=4)
    with patch("preflens.gram.rules.any_module", side_effect=any_module) as slow:
        pair_gram(layer, forward)
    assert slow.called == (name == "unknown")


@pytest.mark.parametrize("name", [name for name in LAYERS if name not in LOOKS_UP])
def test_a_layer_used_twice_has_cross_terms(name):
    layer = spread(LAYERS[name](4, 4)).double()
    x = torch.randn(6, 3, 4, dtype=torch.float64)

    def forward():
        return torch.tanh(layer(torch.tanh(layer(x)))).sum((1, 2))

    expected = brute_force_batch_gram(layer, forward)
    assert_close(batch_gram(layer, forward), expected, 1e-5 if "rms" in name else CLOSE)
    assert_pairs_close(pair_gram(layer, forward), expected.pair_gram(), 1e-5 if "rms" in name else CLOSE)


# The head on its own, with everything it may have, and hints about rows


class Headed(nn.Module):
    """An embedding, a layer, and a head that may be tied."""

    def __init__(self, vocabulary, width, *, tied, bias):
        super().__init__()
        self.embed, self.mix = nn.Embedding(vocabulary, width), nn.Linear(width, width)
        self.head = nn.Linear(width, vocabulary, bias=bias)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, ids):
        steps = torch.arange(1, ids.shape[1] + 1, dtype=torch.float64)[:, None]
        return torch.tanh(self.mix(self.embed(ids).cumsum(1) / steps))


@settings(max_examples=25, deadline=None)
@given(
    pairs=st.integers(1, 3), vocabulary=st.integers(3, 12), width=st.integers(1, 5), tied=st.booleans(),
    bias=st.booleans(), scale=st.sampled_from([1.0, 0.5]), soft_cap=st.sampled_from([None, 2.0]),
    prompt=st.integers(1, 4), lengths=st.lists(st.integers(1, 4), min_size=6, max_size=6), hints=st.booleans(),
)  # fmt: skip
def test_a_head_equals_brute_force(pairs, vocabulary, width, tied, bias, scale, soft_cap, prompt, lengths, hints):
    torch.manual_seed(0)
    module = spread(Headed(vocabulary, width, tied=tied, bias=bias)).double()
    own = lengths[: 2 * pairs]
    total = prompt + max(own)
    ids = torch.randint(vocabulary, (2 * pairs, total))
    ids[pairs:, :prompt] = ids[:pairs, :prompt]
    scored = torch.stack([(torch.arange(total) >= prompt) & (torch.arange(total) < prompt + n) for n in own])
    end = torch.tensor([prompt + n - 1 for n in own])
    rows = TokenRows(torch.zeros_like(end), end, torch.full((pairs,), prompt), total) if hints else None

    def forward():
        hidden = module(ids)
        predicts = scored[:, 1:]
        return HeadInput(
            hidden[:, :-1][predicts], module.head.weight, ids[:, 1:][predicts], predicts.nonzero()[:, 0], 2 * pairs,
            bias=module.head.bias, scale=scale, soft_cap=soft_cap, rows=rows,
        )  # fmt: skip

    expected = brute_force_batch_gram(module, forward, by="module")
    found = batch_gram(module, forward, by="module")
    assert found.blocks == expected.blocks
    torch.testing.assert_close(found.logps, expected.logps)
    assert_close(found.total(), expected.total(), CLOSE)
    torch.testing.assert_close(found.matrix, expected.matrix, rtol=1e-8, atol=1e-9)
    assert_pairs_close(pair_gram(module, forward), expected.total().pair_gram(), CLOSE)
