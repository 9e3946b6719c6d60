"""Laws of every Gram, on small modules and on language models."""

from dataclasses import replace

import pytest
import torch

from preflens import batch_gram, pair_gram
from preflens.gram import brute_force_batch_gram
from preflens.language_models.batch import PairBatch, collate
from preflens.language_models.logps import response_logps
from preflens.types import PairGram
from tests.cases.language_models import tiny_lora, tiny_model
from tests.cases.modules import module_cases
from tests.support.rows import tokenized

MODULES = ["reused", "tied", "branches"]
MODELS = {"gpt2": tiny_model, "llama": lambda: tiny_model("llama"), "lora": tiny_lora}

# Sums of some hundred float64 products in another order, relative to the product of norms.
SAME = 1e-12
# Hugging Face's rotary embedding and RMS norm compute in float32 even in a float64 model.
SAME_WITH_FLOAT32_ISLANDS = 1e-5


def assert_same_gram(found, expected, tolerance=SAME):
    """Entries agree relative to the product of the two norms."""
    norms = expected.matrix.diagonal(dim1=-2, dim2=-1).sqrt()
    scale = norms.unsqueeze(-1) * norms.unsqueeze(-2)
    assert ((found.matrix - expected.matrix).abs() <= tolerance * scale + 1e-300).all()


def model_gram(model, pairs, **arguments):
    batch = collate(pairs, pad_token_id=0)
    return batch_gram(model, lambda: response_logps(model, batch), **arguments)


@pytest.fixture(params=MODULES)
def case(request, dtype, device):
    return module_cases(dtype, device)[request.param]


@pytest.fixture(params=MODELS)
def language_model(request):
    return MODELS[request.param]()


def tolerance(model):
    return SAME if model.config.model_type == "gpt2" else SAME_WITH_FLOAT32_ISLANDS


def test_gram_equals_inner_products_of_gradients_written_to_grad(case):
    module, forward = case
    rows = []
    for i in range(6):
        module.zero_grad()
        forward()[i].backward()
        rows.append(torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]))
    module.zero_grad()
    expected = torch.stack(rows).double() @ torch.stack(rows).double().T
    torch.testing.assert_close(batch_gram(module, forward).matrix, expected)


def test_pair_gram_is_the_diagonal_of_the_batch_gram(case):
    module, forward = case
    alone, together = pair_gram(module, forward), batch_gram(module, forward).pair_gram()
    for entry in ("chosen_sq_norm", "rejected_sq_norm", "inner_product"):
        torch.testing.assert_close(getattr(alone, entry), getattr(together, entry))


@pytest.mark.parametrize("by", ["layer", "module"])
def test_blocks_add_up_to_the_whole(case, by):
    module, forward = case
    whole, parts = batch_gram(module, forward), batch_gram(module, forward, by=by)
    assert len(parts.blocks) == len(set(parts.blocks)) == len(parts.matrix)
    torch.testing.assert_close(parts.total().matrix, whole.matrix)
    torch.testing.assert_close(pair_gram(module, forward, by=by).total().inner_product, whole.pair_gram().inner_product)


def test_scaling_the_numbers_by_c_scales_the_gram_by_c_squared(case):
    module, forward = case
    torch.testing.assert_close(batch_gram(module, lambda: 3 * forward()).matrix, 9 * batch_gram(module, forward).matrix)


def test_swapping_chosen_and_rejected_swaps_norms_and_keeps_the_inner_product(case):
    module, forward = case
    gram, swapped = pair_gram(module, forward), pair_gram(module, lambda: forward([3, 4, 5, 0, 1, 2]))
    torch.testing.assert_close(swapped.chosen_sq_norm, gram.rejected_sq_norm)
    torch.testing.assert_close(swapped.rejected_sq_norm, gram.chosen_sq_norm)
    torch.testing.assert_close(swapped.inner_product, gram.inner_product)


def test_gram_is_positive_semi_definite_and_obeys_cauchy_schwarz(language_model):
    gram = model_gram(language_model, tokenized())
    eigenvalues = torch.linalg.eigvalsh(gram.matrix)
    assert eigenvalues[0] >= -1e-9 * eigenvalues[-1]
    pairs = gram.pair_gram()
    assert (pairs.inner_product**2 <= pairs.chosen_sq_norm * pairs.rejected_sq_norm * (1 + 1e-9)).all()


def test_identical_responses_have_equal_norms_and_cosine_one(language_model):
    pairs = tokenized()
    same = [p.pair.id for p in pairs].index("same")
    gram = model_gram(language_model, pairs).pair_gram()
    assert gram.cosine[same].item() == pytest.approx(1.0, abs=tolerance(language_model))
    assert gram.chosen_sq_norm[same].item() == pytest.approx(gram.rejected_sq_norm[same].item())


def test_gram_is_unchanged_by_padding(language_model):
    pairs = tokenized()
    batch = collate(pairs, pad_token_id=0)
    rows, _ = batch.input_ids.shape
    wider = PairBatch(
        torch.cat([batch.input_ids, torch.full((rows, 7), 5)], 1),
        torch.cat([batch.attention_mask, torch.zeros(rows, 7, dtype=torch.bool)], 1),
        torch.cat([batch.completion_mask, torch.zeros(rows, 7, dtype=torch.bool)], 1),
    )
    found = batch_gram(language_model, lambda: response_logps(language_model, wider))
    assert_same_gram(found, model_gram(language_model, pairs), tolerance(language_model))


def test_gram_is_unchanged_by_the_order_of_pairs(language_model):
    pairs = tokenized()
    n, order = len(pairs), [3, 1, 5, 0, 2, 4]
    gram, shuffled = model_gram(language_model, pairs), model_gram(language_model, [pairs[i] for i in order])
    rows = order + [n + i for i in order]
    assert_same_gram(
        shuffled, replace(gram, matrix=gram.matrix[rows][:, rows], logps=gram.logps[rows]), tolerance(language_model)
    )


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_gram_is_unchanged_by_micro_batches(language_model, micro_batch):
    pairs = tokenized()
    batches = [collate(pairs[i : i + micro_batch], pad_token_id=0) for i in range(0, len(pairs), micro_batch)]
    forwards = [lambda batch=batch: response_logps(language_model, batch) for batch in batches]
    whole = model_gram(language_model, pairs)
    for way in (batch_gram, brute_force_batch_gram):
        split = way(language_model, forwards)
        assert_same_gram(split, whole, tolerance(language_model))
        torch.testing.assert_close(split.logps, whole.logps, atol=1e-4, rtol=0)


def test_gram_is_unchanged_by_the_attention_kernel():
    model = tiny_model()
    found = {}
    for kernel in ("eager", "sdpa"):
        model.set_attn_implementation(kernel)
        found[kernel] = model_gram(model, tokenized())
    assert_same_gram(found["eager"], found["sdpa"])


def test_gram_is_unchanged_by_gradient_checkpointing():
    model = tiny_model()
    plain = model_gram(model, tokenized())
    model.activation_checkpointing_enable()
    model.train()  # checkpointing is off in evaluation mode
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    assert_same_gram(model_gram(model, tokenized()), plain)


def test_layers_of_a_language_model_add_up_and_tied_weights_are_one_block():
    model = tiny_model()
    whole, parts = model_gram(model, tokenized()), model_gram(model, tokenized(), by="layer")
    assert parts.blocks == (
        "transformer.wte + lm_head", "transformer.wpe", "transformer.h.0", "transformer.h.1", "transformer.ln_f",
    )  # fmt: skip
    assert_same_gram(parts.total(), whole)


def test_adapter_gradients_are_over_the_adapter_alone():
    model = tiny_lora()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in n for n in trained)
    gram = model_gram(model, tokenized(), by="module")
    assert len(gram.blocks) == len(trained)


def test_float32_gram_agrees_with_float64():
    pairs = tokenized()
    exact = model_gram(tiny_model(), pairs)
    found = model_gram(tiny_model(dtype=torch.float32), pairs)
    assert_same_gram(found, exact, tolerance=2e-6)  # float32 forward and backward; the sums are in float64


def test_pair_gram_rejects_what_no_exact_gram_can_be():
    one = torch.ones(1, dtype=torch.float64)
    with pytest.raises(ArithmeticError, match="pair 0"):
        PairGram(one, one, 2 * one)
