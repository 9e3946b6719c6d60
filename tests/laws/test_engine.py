"""The fast engine is the brute-force reference, for every kind of model and every way of asking."""

import pytest
import torch

from preflens import batch_gram, pair_gram
from preflens.gram import directional_derivatives, observe_backward
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from tests.cases.language_models import MENAGERIE, tiny_lora, tiny_model
from tests.support.grams import (
    EXACT,
    assert_close,
    assert_pairs_close,
    batch_of,
    dpo_loss,
    reference,
    tolerance,
    ways,
)  # fmt: skip
from tests.support.rows import tokenized

every_model = pytest.mark.parametrize("name", MENAGERIE)


@every_model
def test_pairs_and_batch_equal_brute_force(name):
    model = MENAGERIE[name]()
    batch = batch_of(tokenized())
    expected = reference(model, batch)
    for forward in ways(model, batch).values():
        assert_close(batch_gram(model, forward), expected, tolerance(model))
        assert_pairs_close(pair_gram(model, forward), expected.pair_gram(), tolerance(model))
        torch.testing.assert_close(batch_gram(model, forward).logps, expected.logps, atol=1e-5, rtol=0)


@every_model
@pytest.mark.parametrize("memory", [None, 2e5], ids=["kept", "in groups"])
def test_several_passes_equal_one(name, memory):
    model, pairs = MENAGERIE[name](), tokenized()
    expected = reference(model, collate(pairs, pad_token_id=0))
    parts = [collate(pairs[i:j], pad_token_id=0) for i, j in ((0, 1), (1, 4), (4, 6))]
    for way in ways(model, parts[0]):
        forwards = [ways(model, part)[way] for part in parts]
        found = batch_gram(model, forwards, memory=memory)
        assert_close(found, expected, tolerance(model))
        torch.testing.assert_close(found.logps, expected.logps, atol=1e-5, rtol=0)


@every_model
@pytest.mark.parametrize("by", ["layer", "module"])
def test_every_block_equals_brute_force_and_blocks_add_up(name, by):
    model = MENAGERIE[name]()
    batch = batch_of(tokenized())
    expected = reference(model, batch, by=by)
    scale = expected.total().matrix.diagonal().sqrt()
    for forward in ways(model, batch).values():
        found = batch_gram(model, forward, by=by)
        assert found.blocks == expected.blocks
        assert ((found.matrix - expected.matrix).abs() <= tolerance(model) * torch.outer(scale, scale)).all()
        assert_close(found.total(), batch_gram(model, forward), EXACT)
        parts = pair_gram(model, forward, by=by)
        assert_pairs_close(parts.total(), pair_gram(model, forward), EXACT)


@every_model
def test_directional_equals_the_inner_product_with_every_gradient(name):
    model = MENAGERIE[name]()
    batch = batch_of(tokenized())
    parameters = [p for p in model.parameters() if p.requires_grad]
    updates = [[torch.randn_like(p) for p in parameters] for _ in range(3)]
    rows = []
    for value in response_logps(model, batch):
        gradient = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
        rows.append([sum((g * u).sum() for g, u in zip(gradient, update, strict=True)) for update in updates])
    expected = torch.tensor(rows, dtype=torch.float64).T
    for forward in ways(model, batch).values():
        for some in (updates[:1], updates):
            found = directional_derivatives(model, forward, some)
            assert (found - expected[: len(some)]).abs().max() <= tolerance(model) * expected.abs().max()


@every_model
def test_an_observer_reads_the_gram_off_a_training_step_and_leaves_its_gradients(name):
    model = MENAGERIE[name]()
    batch = batch_of(tokenized())
    expected = reference(model, batch)
    parameters = [p for p in model.parameters() if p.requires_grad]
    plain = torch.autograd.grad(dpo_loss(response_logps(model, batch)), parameters, materialize_grads=True)
    for way, forward in ways(model, batch).items():
        model.zero_grad()
        with observe_backward(model, products="batch") as observer:
            dpo_loss(observer.logps(forward())).backward()
        assert_close(observer.batch_gram(), expected, tolerance(model))
        with observe_backward(model) as observer:
            dpo_loss(observer.logps(forward())).backward()
        assert_pairs_close(observer.pair_gram(), expected.pair_gram(), tolerance(model))
        for p, gradient in zip(parameters, plain, strict=True):
            written = torch.zeros_like(p) if p.grad is None else p.grad / 2  # two backward passes
            if way == "log-probs":
                assert torch.equal(written, gradient)
            torch.testing.assert_close(written, gradient, atol=1e-6, rtol=1e-6)


@pytest.fixture
def no_float32_islands(monkeypatch):
    """Let modelling code stay in float64 where it would go down to float32."""
    to, softmax = torch.Tensor.to, torch.nn.functional.softmax

    def stays(tensor, target):
        return tensor.dtype == torch.float64 and target is torch.float32

    def patched_to(tensor, *args, **kwargs):
        given = [*args, *kwargs.values()]
        return tensor if any(stays(tensor, a) for a in given) else to(tensor, *args, **kwargs)

    def patched_softmax(tensor, *args, dtype=None, **kwargs):
        return softmax(tensor, *args, dtype=None if stays(tensor, dtype) else dtype, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", patched_to)
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: patched_to(tensor, torch.float32))
    monkeypatch.setattr(torch.nn.functional, "softmax", patched_softmax)


@every_model
@pytest.mark.parametrize("left", [False, True], ids=["padded right", "padded left"])
def test_without_float32_islands_every_model_is_exact(name, left, no_float32_islands):
    model = MENAGERIE[name]()
    batch = batch_of(tokenized(), left=left)
    expected = reference(model, batch)
    for forward in ways(model, batch).values():
        assert_close(batch_gram(model, forward), expected, EXACT)
        assert_pairs_close(pair_gram(model, forward), expected.pair_gram(), EXACT)
        with observe_backward(model, products="batch") as observer:
            dpo_loss(observer.logps(forward())).backward()
        assert_close(observer.batch_gram(), expected, EXACT)


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_every_attention_kernel(kernel):
    for model in (tiny_model(), tiny_model("llama")):
        model.set_attn_implementation(kernel)
        batch = batch_of(tokenized())
        expected = reference(model, batch)
        for forward in ways(model, batch).values():
            assert_pairs_close(pair_gram(model, forward), expected.pair_gram(), tolerance(model))


EDGES = {
    "one token each": [{"prompt": "the sky is", "chosen": " blue", "rejected": " green"}] * 2,
    "no prompt": [{"prompt": "", "chosen": "the sky is blue", "rejected": "two dogs ran"}] * 2,
    "identical responses": [{"prompt": "the sky", "chosen": " is blue", "rejected": " is blue"}] * 2,
    "very unequal lengths": [
        {"prompt": "yes", "chosen": " no" * 20, "rejected": " no"},
        {"prompt": "yes " * 12, "chosen": " a", "rejected": " positive negative maybe"},
    ],
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("make", [tiny_model, tiny_lora], ids=["gpt2", "lora"])
def test_edges(edge, make):
    model = make()
    batch = batch_of(tokenized(EDGES[edge]))
    expected = reference(model, batch)
    for forward in ways(model, batch).values():
        assert_close(batch_gram(model, forward), expected, tolerance(model))
        assert_pairs_close(pair_gram(model, forward), expected.pair_gram(), tolerance(model))
