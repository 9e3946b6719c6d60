"""Kept gradients give the same products as those that are formed at once, for every kind of model."""

import weakref

import pytest
import torch

from preflens import pair_gram
from preflens.gram import directional_derivatives
from preflens.gram.brute_force import brute_force_pair_gram
from preflens.gram.products import along_updates
from preflens.gram.readers.first_order_changes import changes_along_updates
from preflens.gram.readers.stored_gradients import per_response_gradients
from tests.cases.language_models import MENAGERIE, tiny_model
from tests.support.grams import batch_of, forward_of
from tests.support.rows import tokenized


def drawn_updates(model, count, seed=3):
    draw = torch.Generator().manual_seed(seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        [torch.randn(p.shape, generator=draw, dtype=torch.float64).to(p.dtype) for p in parameters]
        for _ in range(count)
    ]


@pytest.fixture(params=[1 << 18, 50], ids=["whole", "in parts"], autouse=True)
def parts(request, monkeypatch):
    monkeypatch.setattr(along_updates, "_PART", request.param)


@pytest.mark.parametrize("kind", MENAGERIE)
def test_stored_gradients_times_updates_are_the_directional_changes(kind):
    model = MENAGERIE[kind]()
    forward, updates = forward_of(model, batch_of(tokenized()[:2])), drawn_updates(model, 2)
    kept = per_response_gradients(model, forward)
    place = {p: k for k, p in enumerate(p for p in model.parameters() if p.requires_grad)}
    (found,) = changes_along_updates([kept], lambda p, rows: [u[place[p]][rows] for u in updates], directions=2)
    torch.testing.assert_close(found, directional_derivatives(model, forward, updates), rtol=1e-8, atol=1e-10)
    exact = brute_force_pair_gram(model, forward)
    torch.testing.assert_close(kept.pair_gram().inner_product, exact.inner_product, rtol=1e-6, atol=1e-8)


def test_several_passes_share_the_updates_and_ask_once_a_parameter():
    model = tiny_model()
    batches = [batch_of(tokenized()[:1]), batch_of(tokenized()[1:])]
    kept = [per_response_gradients(model, forward_of(model, batch)) for batch in batches]
    (update,) = drawn_updates(model, 1)
    place, asked = {p: k for k, p in enumerate(model.parameters())}, []

    def update_of(parameter, rows):
        asked.append((parameter, torch.arange(len(parameter))[rows].tolist()))
        return [update[place[parameter]][rows]]

    found = changes_along_updates(kept, update_of, directions=1)
    for batch, changes in zip(batches, found, strict=True):
        torch.testing.assert_close(
            changes, directional_derivatives(model, forward_of(model, batch), [update]), rtol=1e-8, atol=1e-10
        )
    rows = sorted((place[p], row) for p, rows in asked for row in rows)
    assert rows == [(k, row) for p, k in place.items() for row in range(len(p))]  # the tied head's weight once, too


def test_gradients_stay_those_of_the_weights_they_were_taken_at():
    model = tiny_model("llama")
    forward = forward_of(model, batch_of(tokenized()[:1]))
    kept = per_response_gradients(model, forward, pin=True)
    (update,) = drawn_updates(model, 1)
    before = directional_derivatives(model, forward, [update])
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1)
    place = {p: k for k, p in enumerate(model.parameters())}
    (after,) = changes_along_updates([kept], lambda p, rows: [update[place[p]][rows]], directions=1)
    torch.testing.assert_close(after, before, rtol=1e-8, atol=1e-10)
    assert not torch.allclose(directional_derivatives(model, forward, [update]), before)
    assert pair_gram(model, forward).inner_product.item() != kept.pair_gram().inner_product.item()


def test_nothing_of_a_pass_outlives_its_gradients():
    model = tiny_model("llama")
    gone = weakref.ref(per_response_gradients(model, forward_of(model, batch_of(tokenized()[:2]))))
    assert gone() is None  # at once: no cycle, above all none through autograd's graph, which nobody would collect
