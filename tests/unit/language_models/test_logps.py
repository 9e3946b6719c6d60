"""Log-probs against a plain computation, and their independence of padding."""

import pytest
import torch

from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.language_models.reading import pairs_in_memory
from preflens.language_models.tokenizing import tokenize_pairs
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS


@pytest.fixture
def pairs():
    return tokenize_pairs(pairs_in_memory(TEXT_ROWS).pairs, tiny_tokenizer(), max_length=64).pairs


def by_hand(model, prompt, response):
    """One unpadded row, token by token."""
    ids = torch.tensor([prompt + response])
    logps = model(ids).logits[0].double().log_softmax(-1)
    return sum(logps[t - 1, ids[0, t]] for t in range(max(len(prompt), 1), ids.shape[1]))


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("gpt2", 1e-11), ("llama", 1e-4)]
)  # Llama's rotary embedding and norm compute in float32
def test_log_probs_of_a_padded_batch_are_those_of_single_rows(pairs, kind, tolerance):
    model = tiny_model(kind)
    found = response_logps(model, collate(pairs, pad_token_id=0))
    rows = [(p.prompt_ids, p.chosen_ids) for p in pairs] + [(p.prompt_ids, p.rejected_ids) for p in pairs]
    expected = torch.stack([by_hand(model, *row) for row in rows])
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def test_without_a_prompt_the_first_token_has_no_log_prob():
    rows = [{"prompt": "", "chosen": "the sky is", "rejected": "no"}]
    pairs = tokenize_pairs(pairs_in_memory(rows).pairs, tiny_tokenizer(), max_length=64).pairs
    model = tiny_model()
    found = response_logps(model, collate(pairs, pad_token_id=0))
    torch.testing.assert_close(found[0], by_hand(model, (), pairs[0].chosen_ids))


def test_half_precision_models_are_scored_in_float32(pairs):
    found = response_logps(tiny_model(dtype=torch.bfloat16), collate(pairs, pad_token_id=0))
    assert found.dtype == torch.float32


def test_log_probs_carry_a_graph_exactly_when_gradients_are_enabled(pairs):
    model, batch = tiny_model(), collate(pairs, pad_token_id=0)
    assert response_logps(model, batch).requires_grad
    with torch.no_grad():
        assert not response_logps(model, batch).requires_grad
