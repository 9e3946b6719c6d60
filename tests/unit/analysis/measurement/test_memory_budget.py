"""Sizes of forward passes."""

import torch

from preflens.analysis.measurement.forward_passes import PassLimit, PolicyScorer
from preflens.analysis.measurement.memory_budget import limit_for, memory_budget, pass_limit
from preflens.language_models.parameters import observing
from tests.cases.comparisons import tokenized
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS


def test_the_budget_is_half_of_free_memory_or_of_four_gigabytes(monkeypatch):
    sizes = {"SC_AVPHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)
    assert memory_budget(torch.device("cpu")) == 1000 * 4096 / 2

    def unknown(name):
        raise ValueError

    monkeypatch.setattr("os.sysconf", unknown)
    assert memory_budget(torch.device("cpu")) == 2e9


def test_a_given_number_of_pairs_is_the_limit():
    scorer = PolicyScorer(tiny_model(), None, 0)
    assert pass_limit(scorer, [], 3, memory=0.0) == PassLimit(pairs=3)


def test_twice_the_memory_holds_twice_the_tokens():
    model, pairs = tiny_model(), tokenized(TEXT_ROWS)
    with observing(model, "all"):
        scorer = PolicyScorer.of(model, tiny_tokenizer(), pairs)
        one, two = (limit_for(scorer, pairs[5], memory=memory).tokens for memory in (1e6, 2e6))
        assert abs(two - 2 * one) <= 1
        assert pass_limit(scorer, pairs, "auto", memory=1e6).tokens == one  # pairs[5] has the longest row
    per_token = 1e6 / one
    assert per_token > 4 * 32 * 8  # some activations of width 32 in float64 at the very least
