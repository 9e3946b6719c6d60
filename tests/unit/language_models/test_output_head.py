"""Which positions of a batch matter, and which heads are plain."""

from dataclasses import replace

import pytest
import torch

from preflens.analysis.measurement.forward_passes import PolicyScorer
from preflens.gram.factors.scored_rows import head_logps
from preflens.language_models.batch import PairBatch, collate
from preflens.language_models.fused_gelu import fused_activations
from preflens.language_models.logps import response_logps
from preflens.language_models.output_head import _understood as understood
from preflens.language_models.output_head import head_input, plain_head, token_rows
from tests.cases.families import tiny_family
from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer
from tests.support.rows import tokenized


def test_rows_end_where_the_last_scored_token_is_predicted_and_share_what_is_equal():
    ids = torch.tensor([[7, 8, 9, 4, 5], [7, 8, 9, 6, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], dtype=torch.bool)
    scored = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 1, 0]], dtype=torch.bool)
    rows = token_rows(PairBatch(ids, mask, scored))
    assert (rows.start.tolist(), rows.end.tolist(), rows.shared.tolist(), rows.width) == ([0, 0], [4, 3], [3], 5)


def test_rows_padded_on_the_left_start_later():
    ids = torch.tensor([[0, 7, 8, 4], [0, 0, 7, 5]])
    mask = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1]], dtype=torch.bool)
    scored = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 1]], dtype=torch.bool)
    rows = token_rows(PairBatch(ids, mask, scored))
    assert (rows.start.tolist(), rows.end.tolist()) == ([1, 2], [3, 3])


def test_padding_that_looks_like_a_token_is_not_shared():
    ids = torch.tensor([[7, 5, 5, 5], [7, 5, 5, 5]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    rows = token_rows(PairBatch(ids, mask, mask.clone().index_fill_(1, torch.tensor([0]), False)))
    assert rows.shared.tolist() == [2]


def test_plain_heads_are_found_through_adapters_and_others_are_not_taken():
    model = tiny_model()
    assert plain_head(model).linear.weight is model.transformer.wte.weight
    saved = tiny_lora(modules_to_save=["lm_head"])
    assert plain_head(saved).linear.weight.requires_grad
    assert plain_head(tiny_lora(target_modules=["lm_head", "q_proj"])) is None


def batch():
    return collate(tokenized(), pad_token_id=0)


@pytest.mark.parametrize(("kind", "name"), [("recurrent_gemma", "logits_soft_cap"), ("gemma3n_text", None)])
def test_every_name_of_a_soft_cap_is_known(kind, name):
    changes = {name: 2.0} if name else {"final_logit_softcapping": 2.0}  # scores of a tiny model are small
    model = tiny_family(kind, **changes)
    head = plain_head(model, batch())
    assert head.soft_cap == 2.0
    ours, theirs = head_logps(head_input(head, batch())), response_logps(model, batch())
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert (head_logps(head_input(replace(head, soft_cap=None), batch())) - theirs).abs().max() > 0.05


def test_a_cap_that_nobody_knows_is_found_on_the_first_real_rows(caplog):
    """Its largest score is within a percent of a head without it."""
    model = tiny_model("llama")

    def capped(module, args, out):
        out["logits"] = 15 * torch.tanh(out["logits"] / 15)

    model.register_forward_hook(capped)
    without = head_logps(head_input(understood(model), batch()))
    assert 1e-2 < (without - response_logps(model, batch())).abs().max() < 0.5
    assert plain_head(model) is None
    assert plain_head(model, batch()) is None
    assert "The output head of this `LlamaForCausalLM` is no plain linear map" in caplog.text


def test_a_head_that_differs_beyond_two_tokens_is_found_on_the_first_real_rows(caplog):
    model = tiny_model("llama")

    def later(module, args, out):
        out["logits"] = torch.cat([out["logits"][:, :3], 1.001 * out["logits"][:, 3:]], 1)

    model.register_forward_hook(later)
    assert plain_head(model) is not None
    assert not caplog.text
    scorer = PolicyScorer.of(model, tiny_tokenizer(), tokenized())
    assert scorer.head is None
    assert caplog.text.count("scores every token") == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "granite", "cohere", "opt", "mixtral"])
def test_plain_heads_are_plain_in_every_type(kind, dtype):
    model = tiny_model(kind, dtype=dtype, **({"experts_implementation": "eager"} if kind == "mixtral" else {}))
    assert plain_head(model, batch()) is not None


@pytest.mark.parametrize("kind", ["mamba", "llama4_text"])
def test_scores_in_float32_and_backbones_of_other_names_are_no_reason_to_refuse(kind):
    assert plain_head(tiny_family(kind), batch()) is not None


def test_a_fused_activation_is_the_same_function_and_is_undone():
    model = tiny_model()
    batch = collate(tokenized(), pad_token_id=0)
    before = response_logps(model, batch)
    activations = [m for m in model.modules() if type(m).__name__ == "NewGELUActivation"]
    with fused_activations(model):
        assert all("forward" in vars(m) for m in activations)
        torch.testing.assert_close(response_logps(model, batch), before, rtol=1e-12, atol=1e-12)
    assert activations
    assert not any("forward" in vars(m) for m in activations)


def test_activations_are_left_alone_under_gradient_checkpointing():
    model = tiny_model().train()
    model.activation_checkpointing_enable()
    with fused_activations(model):
        assert not any("forward" in vars(m) for m in model.modules())
