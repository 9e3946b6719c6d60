"""Which positions of a batch matter, and which heads are plain."""

import torch

from preflens.language_models.activations import fused_activations
from preflens.language_models.batch import PairBatch, collate
from preflens.language_models.heads import plain_head, token_rows
from preflens.language_models.logps import response_logps
from tests.cases.language_models import tiny_lora, tiny_model
from tests.laws.test_gram import tokenized


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
