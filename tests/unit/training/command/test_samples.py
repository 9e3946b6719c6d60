"""Greedy answers."""

import pytest
import torch

from preflens.training.command.samples import greedy_samples, repetition
from tests.cases.language_models import tiny_model, tiny_tokenizer


@pytest.mark.parametrize(
    ("tokens", "share"), [([], 0), ([1, 2, 3], 0), ([1, 2, 3, 4], 0), ([1] * 5, 0.5), ([1, 2] * 5, 5 / 7)]
)
def test_repetition_is_the_share_of_four_token_sequences_seen_before(tokens, share):
    assert repetition(tokens) == pytest.approx(share)


def test_answers_are_the_most_likely_tokens_and_leave_no_trace():
    model, tokenizer = tiny_model("llama", dtype=torch.float32), tiny_tokenizer()
    model.train()
    random, prompt = torch.get_rng_state(), tokenizer("the sky is")["input_ids"]
    (found,) = greedy_samples(model, tokenizer, [prompt], max_new_tokens=5)
    row = torch.tensor([prompt])
    while row.shape[1] < len(prompt) + 5:
        row = torch.cat([row, model(row).logits[:, -1:].argmax(-1)], 1)
        if row[0, -1] == tokenizer.eos_token_id:
            break
    expected = row[0, len(prompt) :].tolist()
    assert found.tokens == len(expected)
    assert found.answer == tokenizer.decode(expected, skip_special_tokens=True)
    assert found.prompt == "the sky is"
    assert model.training
    assert torch.equal(random, torch.get_rng_state())


def test_an_answer_ends_with_the_end_of_sequence_or_where_it_is_cut():
    model, tokenizer = tiny_model("llama", dtype=torch.float32), tiny_tokenizer()
    prompt = tokenizer("the sky is")["input_ids"]
    cut = greedy_samples(model, tokenizer, [prompt], max_new_tokens=3)[0]
    assert (cut.tokens, cut.ended) == (3, False)
    with torch.no_grad():  # whatever goes in, the end comes out
        model.lm_head.weight.zero_()
        model.lm_head.weight[tokenizer.eos_token_id] = model.model(torch.tensor([prompt])).last_hidden_state[0, -1]
    ended = greedy_samples(model, tokenizer, [prompt], max_new_tokens=3)[0]
    assert (ended.tokens, ended.ended, ended.answer) == (1, True, "")


def test_prompts_without_tokens_or_room_are_left_out_and_answers_end_with_the_context():
    model, tokenizer = tiny_model("gpt2", dtype=torch.float32), tiny_tokenizer()
    found = greedy_samples(model, tokenizer, [[], [5] * 96, [5] * 94], max_new_tokens=8)
    assert [s.tokens <= 2 for s in found] == [True]
