"""Held-out pairs: whole prompts, no training pairs, and gradients of their means."""

import pytest
import torch

from preflens.analysis.comparison.held_out import (
    directions_that_fit,
    mean_gradients,
    products_along,
    split_pairs,
    without_training_pairs,
)
from preflens.errors import InputError
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.language_models.parameters import observing
from tests.cases.comparisons import model_queries, tokenized
from tests.cases.language_models import tiny_model
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS


def test_prompts_are_held_out_whole():
    pairs = tokenized([*TEXT_ROWS, *(row | {"id": row["id"] + "2", "rejected": " sea"} for row in TEXT_ROWS)])
    for seed in range(5):
        training, held_out = split_pairs(pairs, fraction=0.3, seed=seed)
        assert not {p.pair.prompt for p in training} & {p.pair.prompt for p in held_out}
        assert [p for p in pairs if p in training or p in held_out] == pairs
        assert len(held_out) == 4


def test_a_training_pair_is_dropped_and_a_shared_prompt_is_counted():
    other = TEXT_ROWS[0] | {"id": "other", "rejected": " no"}
    held_out = tokenized([*PROBE_ROWS, TEXT_ROWS[1], other])
    kept, shared = without_training_pairs(held_out, tokenized(TEXT_ROWS))
    assert [p.pair.id for p in kept] == ["grass", "cats", "maybe", "other"]
    assert shared == 1
    with pytest.raises(InputError, match="All 1 pairs of `held_out` are training pairs"):
        without_training_pairs(held_out[3:4], tokenized(TEXT_ROWS))


def test_mean_gradients_and_products_are_those_of_autograd():
    model = tiny_model()
    with observing(model, "ln_f"):
        queries = model_queries(model)
        passes = queries.passes(tokenized(PROBE_ROWS))
        means = mean_gradients(passes)
        products = products_along(queries.passes(tokenized(TEXT_ROWS[:1])), means)
        parameters = [p for p in model.parameters() if p.requires_grad]
        for side, mean in enumerate(means):
            logps = response_logps(model, collate(tokenized(PROBE_ROWS), pad_token_id=0)).chunk(2)[side]
            for tensor, expected in zip(mean, torch.autograd.grad(logps.mean(), parameters), strict=True):
                torch.testing.assert_close(tensor, expected)
        (rejected,) = response_logps(model, collate(tokenized(TEXT_ROWS[:1]), pad_token_id=0))[1:]
        gradient = torch.autograd.grad(rejected, parameters)
        expected = sum((g * v).sum() for g, v in zip(gradient, means[0], strict=True))
        assert products[0, 1, 0].item() == pytest.approx(expected.item(), rel=1e-9)


def test_the_number_of_directions_is_memory_over_the_size_of_the_trainable_parameters():
    model = tiny_model()
    with observing(model, "ln_f"):
        passes = model_queries(model).passes(tokenized(PROBE_ROWS[:1]))
        size = sum(p.numel() * 8 for p in model.parameters() if p.requires_grad)
        assert directions_that_fit(passes, memory=3.5 * size) == 3
        with pytest.raises(InputError, match="Two gradients of the trainable parameters .* do not fit"):
            directions_that_fit(passes, memory=1.5 * size)
