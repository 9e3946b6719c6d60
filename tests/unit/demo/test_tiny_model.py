"""The demo's tokenizer and model."""

import random

import torch

from preflens.demo.synthetic_reviews import SUFFIXES, reviews
from preflens.demo.tiny_model import make_model, make_tokenizer, tokenize, train_language_model
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps


def test_the_seed_decides_the_weights_and_global_randomness_is_untouched():
    tokenizer = make_tokenizer()
    before = torch.get_rng_state()
    one, again, other = (make_model(tokenizer, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    first, second, third = (model.transformer.wte.weight for model in (one, again, other))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_every_word_is_one_token_and_training_raises_chosen_log_probs():
    tokenizer, draw = make_tokenizer(), random.Random(0)
    rows = reviews(40, suffix=SUFFIXES["short suffix"], draw=draw)
    pairs = tokenize(rows, tokenizer)
    assert all(len(pair.chosen_ids) == 3 for pair in pairs)  # verdict, suffix, end of sequence
    model, batch = make_model(tokenizer, seed=0), collate(pairs, pad_token_id=0)
    before = response_logps(model, batch)[:40].mean().item()
    train_language_model(model, pairs, steps=3, learning_rate=3e-3, on_prompts_too=False, draw=draw)
    assert response_logps(model, batch)[:40].mean().item() > before
