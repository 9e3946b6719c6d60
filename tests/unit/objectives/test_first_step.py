"""Sentences about the first step, against the closed forms."""

import pytest
import torch

from preflens import OBJECTIVES, PairLogps
from preflens.objectives.first_step import BY_TOKEN, EQUAL, GENERAL, at_reference, condition_of
from tests.cases.logps import drawn_logps
from tests.oracles import having, oracle


def at_the_reference():
    """One pair of ten tokens and −20 nats on each side, policy and reference alike."""
    same, count = torch.full((1,), -20.0, dtype=torch.float64), torch.full((1,), 10)
    return PairLogps(same, same, same, same, count, count, future_chosen=same, future_rejected=same)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_condition_is_the_short_one_exactly_where_the_closed_forms_are_equal(name):
    if name in having("token_coefficients"):
        assert condition_of(OBJECTIVES[name]()) == BY_TOKEN
        return
    chosen, rejected = oracle(name).coefficients(drawn_logps())
    assert condition_of(OBJECTIVES[name]()) == (EQUAL if torch.equal(chosen, rejected) else GENERAL)


@pytest.mark.parametrize("name", having("coefficients"))
def test_the_first_step_has_the_coefficients_of_the_closed_form(name):
    d_w, d_l = (d.item() for d in oracle(name).coefficients(at_the_reference()))
    text = at_reference(OBJECTIVES[name]())
    assert text.startswith(f"d_w = {d_w:.3g}, d_l = {d_l:.3g} for a pair")
    assert ("backwards" in text) == (d_w < 0 and d_l < 0)
    assert ("descends the chosen" in text) == (d_w < 0 <= d_l)


def test_the_first_step_of_a_token_objective_has_the_means_of_its_tokens():
    text = at_reference(OBJECTIVES["slime"]())
    assert text.startswith("d_w = ")
    assert text.endswith("for a pair with 10 tokens and −20 nats on each side.")
