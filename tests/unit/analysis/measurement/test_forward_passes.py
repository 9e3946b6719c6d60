"""Update batches cut into passes that fit the memory."""

import gc

import pytest
import torch

from preflens.analysis.measurement.forward_passes import PassLimit, PolicyScorer, make_passes
from preflens.analysis.measurement.memory_budget import limit_for, memory_budget
from preflens.language_models.output_head import plain_head
from tests.cases.language_models import tiny_model
from tests.cases.pairs import TEXT_ROWS
from tests.support.rows import tokenized

PAIRS = sorted(tokenized(TEXT_ROWS), key=lambda p: -p.longest)


def lengths(limit):
    return [len(part) for part in limit.cut(PAIRS)]


def scorer(model=None):
    model = model or tiny_model()
    return PolicyScorer(model, plain_head(model), 0)


@pytest.mark.parametrize("limit", [PassLimit(), PassLimit(pairs=4), PassLimit(tokens=60), PassLimit(tokens=1)])
def test_every_pair_is_in_one_pass_in_order(limit):
    assert [p for part in limit.cut(PAIRS) for p in part] == PAIRS


def test_limits_are_kept():
    assert lengths(PassLimit()) == [6]
    assert lengths(PassLimit(pairs=4)) == [4, 2]
    assert lengths(PassLimit(tokens=1)) == [1] * 6  # a pair cannot be cut
    for part in PassLimit(tokens=80).cut(PAIRS):
        assert len(part) == 1 or 2 * len(part) * max(p.longest for p in part) <= 80


def test_finding_the_limit_leaves_nothing_behind():
    some = scorer()

    def tensors():
        gc.collect()
        return sum(type(each) is torch.Tensor for each in gc.get_objects())

    limit_for(some, PAIRS[0], memory=1e7)  # a model may keep something of its first call
    before = tensors()
    limit_for(some, PAIRS[0], memory=1e7)
    assert tensors() == before


def test_no_pairs_are_no_passes():
    assert list(PassLimit().cut([])) == []


def test_more_memory_is_more_tokens_and_a_pass_is_never_empty():
    some = scorer()
    few, many = (limit_for(some, PAIRS[0], memory=m).tokens for m in (1e6, 1e8))
    assert many == pytest.approx(100 * few, rel=0.02)
    assert lengths(limit_for(some, PAIRS[0], memory=1.0)) == [1] * 6


def test_what_a_pass_keeps_is_measured_without_a_trace():
    some = scorer()
    before = {n: p.grad for n, p in some.model.named_parameters()}
    limit = limit_for(some, PAIRS[0], memory=1e7)
    # Two layers of width 16 keep some hundred numbers of 8 bytes a token.
    assert 1e2 < 1e7 / limit.tokens < 1e5
    assert {n: p.grad for n, p in some.model.named_parameters()} == before


def test_a_budget_is_half_of_what_is_free():
    assert 1e6 < memory_budget(torch.device("cpu")) < 1e13


def test_passes_have_a_function_each_for_values_and_for_the_gram():
    passes = make_passes(scorer(), PAIRS, PassLimit(pairs=4))
    assert len(passes.forwards()) == len(passes.forwards_to_head()) == 2
    with torch.no_grad():
        assert [len(forward()) for forward in passes.forwards()] == [8, 4]
        assert [forward().responses for forward in passes.forwards_to_head()] == [8, 4]
