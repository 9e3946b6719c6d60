"""What breaks per-response gradients: either it gives the numbers of brute force, or it is refused by name."""

import copy

import pytest
import torch
from torch import nn

from preflens import batch_gram, pair_gram
from preflens.gram import brute_force_batch_gram, directional_derivatives, observe_backward
from preflens.language_models.batch import collate, positions
from preflens.language_models.logps import response_logps
from preflens.language_models.output_head import head_input, plain_head
from tests.cases.language_models import tiny_lora, tiny_model
from tests.support.grams import assert_close, assert_pairs_close, batch_of, dpo_loss, reference, tolerance, ways
from tests.support.rows import tokenized

X = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def dropping(p=0.3):
    """A model in training mode whose dropout is active."""
    model = tiny_model(resid_pdrop=p, embd_pdrop=p, attn_pdrop=0.0)
    return model.train()


def seeded(forward, seed=3):
    """The same forward pass with the same draw of dropout every time."""

    def run():
        torch.manual_seed(seed)
        return forward()

    return run


# Dropout


def test_active_dropout_is_refused_by_name():
    model, batch = dropping(), batch_of(tokenized())
    for ask in (pair_gram, batch_gram):
        with pytest.raises(ValueError, match="Dropout is active in `transformer.drop`.*model.eval"):
            ask(model, lambda: response_logps(model, batch))


def test_dropout_that_was_asked_for_gives_the_geometry_of_one_draw():
    model, batch = dropping(), batch_of(tokenized())
    expected = brute_force_batch_gram(model, seeded(lambda: response_logps(model, batch)))
    for forward in ways(model, batch).values():
        assert_close(batch_gram(model, seeded(forward), dropout=True), expected, 1e-10)
        assert_pairs_close(pair_gram(model, seeded(forward), dropout=True), expected.pair_gram(), 1e-10)


def test_an_observer_is_consistent_under_dropout():
    model, batch = dropping(), batch_of(tokenized())
    expected = brute_force_batch_gram(model, seeded(lambda: response_logps(model, batch)))
    for forward in ways(model, batch).values():
        with observe_backward(model, products="batch") as observer:
            dpo_loss(observer.logps(seeded(forward)())).backward()
        assert_close(observer.batch_gram(), expected, 1e-10)


# Positions and packing


def test_positions_without_a_row_for_each_response_are_refused_by_name():
    model, batch = tiny_model(), batch_of(tokenized())
    with pytest.raises(
        TypeError, match="`Embedding` saw 1 row.* for 12 responses.*position ids with one row per response"
    ):
        pair_gram(model, lambda: model(input_ids=batch.input_ids).logits[:, -1].logsumexp(-1))


def test_packed_sequences_are_refused_by_name():
    model = tiny_model("llama")
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    packed = {"input_ids": ids, "position_ids": torch.tensor([[0, 1, 2, 0, 1, 2]])}
    with pytest.raises(TypeError, match="saw 1 row.* for 2 responses.*no packed sequences"):
        pair_gram(model, lambda: model(**packed).logits[0, [1, 4]].log_softmax(-1)[:, 7])


def test_positions_count_real_tokens_and_never_go_back():
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], dtype=torch.bool)
    assert positions(mask).tolist() == [[0, 1, 2, 3, 4], [0, 0, 0, 1, 2], [0, 1, 2, 3, 4]]


# Heads


@pytest.mark.parametrize(
    ("kind", "changes"), [("granite", {"logits_scaling": 3.0}), ("cohere", {"logit_scale": 0.4}), ("gemma2", {})]
)
def test_scaled_and_capped_scores_are_understood(kind, changes):
    model, batch = tiny_model(kind, **changes), batch_of(tokenized())
    head = plain_head(model)
    assert head is not None
    assert (head.scale, head.soft_cap) != (1.0, None)
    found = batch_gram(model, lambda: head_input(head, batch))
    assert_close(found, reference(model, batch), tolerance(model))
    torch.testing.assert_close(found.logps, reference(model, batch).logps, atol=1e-5, rtol=0)


def test_a_head_that_is_not_understood_takes_the_long_way():
    model, batch = tiny_model("llama"), batch_of(tokenized())
    original = model.lm_head.forward
    model.config.logits_scaling = 3.0  # says Granite, is Llama
    assert plain_head(model) is None
    assert model.lm_head.forward == original
    assert set(ways(model, batch)) == {"log-probs"}
    assert_close(batch_gram(model, ways(model, batch)["log-probs"]), reference(model, batch), 1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_a_head_with_a_bias(tied):
    model, batch = tiny_model("llama", tie_word_embeddings=tied), batch_of(tokenized())
    model.lm_head.bias = nn.Parameter(torch.randn(320, dtype=torch.float64))
    expected = reference(model, batch, by="module")
    head = plain_head(model)
    for ask in (pair_gram, batch_gram):
        found = ask(model, lambda: head_input(head, batch), by="module")
        assert found.blocks == expected.blocks
    assert_close(batch_gram(model, lambda: head_input(head, batch)), expected.total(), 1e-6)
    assert_pairs_close(pair_gram(model, lambda: head_input(head, batch)), expected.total().pair_gram(), 1e-6)


def test_a_vocabulary_larger_than_what_is_held_is_worked_through_in_slices(monkeypatch):
    import preflens.gram.factors.scored_rows
    import preflens.gram.products.head_collectors

    model, batch = tiny_model(), batch_of(tokenized())
    expected = reference(model, batch)
    products = preflens.gram.products
    for module in (products.output_head, products.head_collectors, preflens.gram.factors.scored_rows):
        monkeypatch.setattr(module, "SCORES", 1000)  # of 320 entries and some 60 rows
    head = plain_head(model)
    assert_close(batch_gram(model, lambda: head_input(head, batch)), expected, 1e-10)
    assert_pairs_close(pair_gram(model, lambda: head_input(head, batch)), expected.pair_gram(), 1e-10)


def test_a_model_with_the_fused_head_of_trl_gives_the_same_numbers():
    from trl.trainer.utils import add_fused_lm_head

    model, batch = tiny_model(dtype=torch.float32), batch_of(tokenized())
    before = {way: batch_gram(model, forward).matrix for way, forward in ways(model, batch).items()}
    add_fused_lm_head(model, outputs=("log_probs",))
    after = {way: batch_gram(model, forward).matrix for way, forward in ways(model, batch).items()}
    assert list(before) == list(after)
    assert all(torch.equal(before[way], after[way]) for way in before)


def test_the_padding_entry_of_an_embedding_gets_no_gradient_also_inside_a_response():
    model, batch = tiny_model("llama", pad_token_id=2), batch_of(tokenized())  # padding is the end of sequence
    assert model.model.embed_tokens.padding_idx == 2
    assert (batch.input_ids[batch.completion_mask] == 2).any()
    for forward in ways(model, batch).values():
        assert_close(batch_gram(model, forward), reference(model, batch), 1e-6)


# Types


def test_autocast_does_not_reach_the_sums():
    model, pairs = tiny_model(dtype=torch.float32), tokenized()
    batch = batch_of(pairs)
    expected = reference(tiny_model(), batch)
    for forward in ways(model, batch).values():

        def cast(forward=forward):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return forward()

        found = batch_gram(model, cast)
        assert found.matrix.dtype == torch.float64
        assert_close(found, expected, 0.05)  # of bfloat16 forward and backward passes


def test_float32_adapters_on_a_bfloat16_base():
    model, batch = tiny_lora(dtype=torch.bfloat16), batch_of(tokenized())
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data.float()
    for forward in ways(model, batch).values():
        assert_close(batch_gram(model, forward), reference(model, batch), 0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_before_sums(dtype):
    model, batch = tiny_model(dtype=dtype), batch_of(tokenized())
    exact = copy.deepcopy(model).double()
    for forward in ways(model, batch).values():
        assert_close(batch_gram(model, forward), reference(exact, batch), 0.1)


# Gradient checkpointing


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("make", [tiny_model, lambda: tiny_model("llama", tie_word_embeddings=True)])
def test_gradient_checkpointing_changes_nothing(make, reentrant):
    model, batch = make(), batch_of(tokenized())
    expected = reference(model, batch)
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert_close(reference(model, batch), expected, tolerance(model))
    parts = [collate(tokenized()[i : i + 3], pad_token_id=0) for i in (0, 3)]
    for way, forward in ways(model, batch).items():
        assert_close(batch_gram(model, forward), expected, tolerance(model))
        assert_pairs_close(pair_gram(model, forward), expected.pair_gram(), tolerance(model))
        assert_close(batch_gram(model, [ways(model, part)[way] for part in parts]), expected, tolerance(model))
        with observe_backward(model, products="batch") as observer:
            dpo_loss(observer.logps(forward())).backward()
        assert_close(observer.batch_gram(), expected, tolerance(model))
    assert all(p.requires_grad for p in model.parameters())


def test_a_module_in_two_reentrant_segments_is_refused_by_name():
    from torch.utils.checkpoint import checkpoint

    first, second = nn.Linear(4, 4).double(), nn.Linear(4, 1).double()
    module = nn.ModuleList([first, second])

    def forward():
        x = X.clone().requires_grad_()
        hidden = checkpoint(lambda x: torch.tanh(first(x)), x, use_reentrant=True)
        return second(checkpoint(lambda x: torch.tanh(first(x)), hidden, use_reentrant=True)).squeeze(1)

    with pytest.raises(TypeError, match="`0` is called in several segments of reentrant gradient checkpointing"):
        pair_gram(module, forward)


# Reference passes


def test_taps_are_idle_in_reference_passes_of_an_adapter():
    model, batch = tiny_lora(), batch_of(tokenized())
    expected = reference(model, batch)

    def with_reference(forward):
        with torch.no_grad(), model.disable_adapter():
            before = response_logps(model, batch)
        found = forward()
        with torch.no_grad(), model.disable_adapter():
            assert torch.equal(response_logps(model, batch), before)
        return found

    for forward in ways(model, batch).values():
        assert_close(batch_gram(model, lambda forward=forward: with_reference(forward)), expected, 1e-6)
        with observe_backward(model, products="batch") as observer:
            dpo_loss(observer.logps(with_reference(forward))).backward()
        assert_close(observer.batch_gram(), expected, 1e-6)


def test_a_new_adapter_has_the_gradients_of_its_b_matrices_alone():
    model, batch = tiny_lora(b_std=0.0), batch_of(tokenized())
    parts = pair_gram(model, lambda: response_logps(model, batch), by="module")
    a = [i for i, name in enumerate(parts.blocks) if "lora_A" in name]
    assert (parts.chosen_sq_norm[a] == 0).all()
    assert torch.isfinite(parts.total().cosine).all()


# Zero coefficients


def test_a_zero_coefficient_falls_back_to_a_pass_of_its_own_or_is_an_error():
    model, batch = tiny_model(), batch_of(tokenized())

    def forward():
        return response_logps(model, batch)

    with observe_backward(model, products="batch") as observer:
        logps = observer.logps(forward())
        (torch.relu(1 - logps[:6] + logps[6:]) * torch.tensor([1, 0, 1, 1, 0, 1])).sum().backward()
    with pytest.raises(ValueError, match="sends nothing back to response .*inactive hinge.*fallback=forward"):
        observer.batch_gram()
    before = [p.grad.clone() for p in model.parameters()]
    assert_close(observer.batch_gram(fallback=forward), reference(model, batch), 1e-10)
    assert_pairs_close(observer.pair_gram(fallback=forward), reference(model, batch).pair_gram(), 1e-10)
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), before, strict=True))


def test_an_observer_without_a_backward_pass_says_so():
    model, batch = tiny_model(), batch_of(tokenized())
    with observe_backward(model) as observer:
        observer.logps(response_logps(model, batch))
    with pytest.raises(ValueError, match="saw no backward pass"):
        observer.pair_gram()


def test_an_update_that_does_not_fit_is_refused():
    module = nn.Linear(4, 1).double()
    with pytest.raises(ValueError, match="one tensor for each of the 2 trainable parameters.*Found 1 tensors"):
        directional_derivatives(module, lambda: module(X).squeeze(1), [[torch.zeros(1, 4)]])
