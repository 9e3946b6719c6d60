"""Float32 is good to a millionth of the product of norms, at a million, ten million and 124 million parameters."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from preflens import batch_gram, pair_gram
from preflens.gram import brute_force_batch_gram
from preflens.language_models.batch import PairBatch
from preflens.language_models.output_head import head_input, plain_head
from tests.support.grams import assert_close, assert_pairs_close

FLOAT32 = 1e-6
SIZES = {"1M": (128, 4, 4000, 2), "10M": (256, 8, 16000, 2), "124M": (768, 12, 50257, 1)}  # and pairs


def gpt2_like(width, layers, vocabulary):
    config = GPT2Config(
        vocab_size=vocabulary, n_embd=width, n_layer=layers, n_head=width // 64, n_positions=64, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def random_pairs(vocabulary, pairs, tokens=48, prompt=24):
    ids = torch.randint(1, vocabulary, (2 * pairs, tokens))
    ids[pairs:, :prompt] = ids[:pairs, :prompt]
    response = (torch.arange(tokens) >= prompt).repeat(2 * pairs, 1)
    return PairBatch(ids, torch.ones_like(response), response)


@pytest.mark.parametrize("size", SIZES)
def test_float32_is_good_to_a_millionth(size):
    width, layers, vocabulary, pairs = SIZES[size]
    model, batch = gpt2_like(width, layers, vocabulary), random_pairs(vocabulary, pairs)
    head = plain_head(model)
    found = batch_gram(model, lambda: head_input(head, batch), check=False)
    within = pair_gram(model, lambda: head_input(head, batch))
    model.double()
    expected = brute_force_batch_gram(model, lambda: head_input(head, batch))
    assert_close(found, expected, FLOAT32)
    assert_pairs_close(within, expected.pair_gram(), FLOAT32)
