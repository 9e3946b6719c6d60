"""Steps of DPO with their forecasts."""

import copy
import random

import pytest

from preflens.demo.synthetic_reviews import SUFFIXES, reviews
from preflens.demo.tiny_model import make_model, make_tokenizer, tokenize
from preflens.demo.tuning import tune
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps


def test_small_steps_do_what_was_forecast_and_the_change_is_that_of_the_model():
    tokenizer, draw = make_tokenizer(), random.Random(0)
    model = make_model(tokenizer, seed=0)
    pairs = tokenize(reviews(20, suffix=SUFFIXES["short suffix"], draw=draw), tokenizer)
    held_out, before = pairs[:4], copy.deepcopy(model)
    result = tune(model, pairs, held_out, steps=2, learning_rate=1e-3, draw=draw)
    batch = collate(held_out, pad_token_id=0)
    change = (response_logps(model, batch) - response_logps(before, batch)).reshape(2, -1).mean(1)
    assert result.measured == pytest.approx(change.tolist(), abs=1e-5)
    assert result.forecast == pytest.approx(result.measured, rel=0.05)
