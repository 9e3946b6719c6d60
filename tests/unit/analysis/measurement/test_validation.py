"""Checks before anything expensive starts."""

import pytest

from preflens.analysis.measurement.validation import (
    check_inputs,
    check_verify_batches,
    check_vocabulary,
    usable_length,
)
from preflens.errors import InputError, MissingInputError
from preflens.objectives.parse import resolve_objectives
from tests.cases.comparisons import tokenized
from tests.cases.language_models import tiny_model
from tests.cases.pairs import TEXT_ROWS


def test_the_default_length_is_the_smaller_of_a_thousand_and_the_context():
    assert usable_length(tiny_model(), None) == 96
    assert usable_length(tiny_model(n_positions=2048), None) == 1024
    assert usable_length(tiny_model(n_positions=2048), 2048) == 2048
    for wrong in (1, 97):
        with pytest.raises(InputError, match=f"at least 2 and at most 96, the model's context. Found {wrong}"):
            usable_length(tiny_model(), wrong)


def test_objectives_that_need_more_than_log_probs_of_responses_are_refused():
    check_inputs(resolve_objectives(["dpo", "simpo"]), "self")
    with pytest.raises(MissingInputError, match="`dpo` compares with a reference model, and `reference` is none"):
        check_inputs(resolve_objectives(["simpo", "dpo"]), "none")
    with pytest.raises(MissingInputError, match="Objective `slime` also uses: .*token"):
        check_inputs(resolve_objectives(["slime"]), "self")


def test_a_negative_number_of_batches_is_refused():
    check_verify_batches(0)
    with pytest.raises(InputError, match="`verify_batches` should be at least 0. Found -2"):
        check_verify_batches(-2)


def test_token_ids_beyond_the_vocabulary_are_refused_for_policy_and_reference():
    pairs, small = tokenized(TEXT_ROWS[:1]), tiny_model(vocab_size=10)
    with pytest.raises(InputError, match="the model knows only 10 tokens"):
        check_vocabulary(pairs, small, "self")
    with pytest.raises(InputError, match="the reference model knows only 10 tokens"):
        check_vocabulary(pairs, tiny_model(), small)
    check_vocabulary(pairs, tiny_model(), "none")
