"""Traits of runs, and how differences are reported."""

from preflens.analysis.measurement.run_identity import Trait, differences, pairs_trait
from preflens.language_models.reading import pairs_in_memory
from preflens.language_models.tokenizing import tokenize_pairs
from preflens.records.common import DataProvenance
from tests.cases.language_models import tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS


def test_equal_traits_have_no_difference():
    traits = {"model": Trait("a", "gpt2"), "pairs": Trait("b", "6 of rows")}
    assert differences(traits, dict(traits)) == []


def test_a_difference_names_both_and_says_when_only_the_content_differs():
    now = {"model": Trait("a", "gpt2"), "device": Trait("c", "cpu")}
    then = {"model": Trait("x", "llama"), "device": Trait("d", "cpu"), "held-out pairs": Trait("e", "3 of rows")}
    assert differences(now, then) == [
        "model gpt2, then llama", "device cpu, with other content then", "held-out pairs none, then 3 of rows",
    ]  # fmt: skip


def test_a_trait_that_follows_from_another_is_not_reported_beside_it():
    now = {"pairs": Trait("a", "6"), "update batches": Trait("b", "2 of 3")}
    then = {"pairs": Trait("x", "7"), "update batches": Trait("y", "2 of 4")}
    assert differences(now, then) == ["pairs 6, then 7"]


def test_pairs_are_told_apart_by_their_tokens():
    record = DataProvenance("rows", "", 6, 6, 6, {}, {}, 96)
    pairs = tokenize_pairs(pairs_in_memory(TEXT_ROWS).pairs, tiny_tokenizer(), max_length=96).pairs
    assert pairs_trait(record, pairs).words == "6 of rows (at most 96 tokens)"
    assert pairs_trait(record, pairs).content != pairs_trait(record, pairs[:5]).content
    assert pairs_trait(record, pairs) == pairs_trait(record, list(pairs))
