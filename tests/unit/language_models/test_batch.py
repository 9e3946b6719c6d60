"""Batches in TRL's layout."""

import torch

from preflens.language_models.batch import collate, model_inputs, positions
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.tokenizing import TokenizedPair
from tests.cases.language_models import tiny_model

PAIR = PreferencePair("0", "p", "c", "r")
PAIRS = [TokenizedPair(PAIR, (1, 2), (3, 4, 5), (6,)), TokenizedPair(PAIR, (), (7, 8), (9,))]


def test_chosen_rows_come_first_and_padding_is_masked():
    batch = collate(PAIRS, pad_token_id=0)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5], [7, 8, 0, 0, 0], [1, 2, 6, 0, 0], [9, 0, 0, 0, 0]]
    assert batch.attention_mask.sum(1).tolist() == [5, 2, 3, 1]
    assert batch.completion_mask.long().tolist() == [[0, 0, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0]]
    assert batch.tokens.tolist() == [3, 1, 1, 0]  # the first token of a sequence has no log-prob


def test_positions_count_real_tokens_on_either_side_of_padding():
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    assert positions(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


def test_models_with_positions_get_a_row_of_them_for_every_response():
    inputs = model_inputs(tiny_model(), collate(PAIRS, pad_token_id=0))
    assert inputs["position_ids"].shape == inputs["input_ids"].shape == (4, 5)
    assert inputs["attention_mask"].dtype == torch.int64
    assert "position_ids" not in model_inputs(torch.nn.Identity(), collate(PAIRS, pad_token_id=0))
