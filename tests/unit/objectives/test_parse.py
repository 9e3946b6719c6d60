"""Objectives named in words, and back."""

import pytest
import torch

from preflens import OBJECTIVES, parse_objective
from preflens.errors import ObjectiveError
from preflens.objectives import MODIFIERS, NOT_INCLUDED, TRL_LOSS_TYPES, WeightedSum
from preflens.objectives.parse import default_parameters, objective_label, resolve_objectives
from tests.cases.logps import drawn_logps

TEXTS = [
    *OBJECTIVES, "simpo:gamma=0.5", "dpo:beta=0.05", "dpo@wpo", "dpo@ld:alpha=0.25", "dpo:beta=1@forward_kl",
    "dpo@ld:alpha=0.3@wpo", "0.7*dpo+0.3*sft", "1*dpo:beta=0.05+0.5*rpo@wpo", "1e-03*dpo+2*slime",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_label_reads_back_as_the_same_objective(text):
    first = parse_objective(text)
    again = parse_objective(objective_label(first))
    assert objective_label(again) == objective_label(first)
    assert torch.equal(again.loss(drawn_logps()), first.loss(drawn_logps()))


def test_a_sum_adds_losses_and_coefficients_with_its_weights():
    logps = drawn_logps()
    total, (dpo, sft) = parse_objective("0.7*dpo+0.3*sft"), (OBJECTIVES[n]() for n in ("dpo", "sft"))
    torch.testing.assert_close(total.loss(logps), 0.7 * dpo.loss(logps) + 0.3 * sft.loss(logps))
    a, b, c = (o.coefficients(logps) for o in (dpo, sft, total))
    torch.testing.assert_close(c.chosen, 0.7 * a.chosen + 0.3 * b.chosen)
    torch.testing.assert_close(c.rejected, 0.7 * a.rejected + 0.3 * b.rejected)


def test_a_sum_is_of_the_most_demanding_kind():
    kinds = {t: parse_objective(t).kind for t in ("dpo+ipo", "dpo+nca", "dpo+sft", "dpo+slime", "dpo@ld+sft", "2*dpo")}
    assert list(kinds.values()) == ["pairwise", "pairwise", "batch", "token", "token", "margin"]


def test_a_plus_in_an_exponent_is_no_sum_and_a_weight_of_one_no_sum_either():
    assert parse_objective("dpo:beta=1e+1").parameters == {"beta": 10.0}
    assert not isinstance(parse_objective("1*dpo"), WeightedSum)
    assert isinstance(parse_objective("slime+dpo"), WeightedSum)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dqo", "Unknown objective `dqo`. Did you mean `dpo`"),
        ("dpo:bata=1", r"has no parameter `bata`. Did you mean `beta`\? Known: beta\."),
        ("sft:beta=1", "Objective `sft` has no parameter `beta`. It has none."),
        ("dpo:beta=big", "`beta` of objective `dpo` should be a number. Found `big`"),
        ("dpo:beta", "Found no value"),
        ("dpo:beta=0", "should be above 0"),
        ("dpo@wppo", "Unknown modifier `wppo`. Did you mean `wpo`"),
        ("wpo", "It is a modifier: write `NAME@wpo`"),
        ("sigmoid", "TRL's `sigmoid` is `dpo` here"),
        ("exo_pair", "TRL's `exo_pair` is `exo` here"),
        ("tdpo", "It is left out: it needs the full token distributions"),
        ("0.5x*dpo", "A weight should be a number, as in `0.7\\*dpo`. Found `0.5x`"),
        ("nan*dpo", "The weight of objective `dpo` should be finite"),
        ("dpo+", "Unknown objective ``"),
        ("", "Unknown objective ``"),
    ],
)
def test_what_cannot_be_read_is_said(text, message):
    with pytest.raises(ObjectiveError, match=message):
        parse_objective(text)


def test_the_same_objective_twice_is_refused_and_none_too():
    with pytest.raises(ObjectiveError, match="`dpo` was given twice"):
        resolve_objectives(["dpo", "dpo:beta=0.1"])
    with pytest.raises(ObjectiveError, match="No objective was given"):
        resolve_objectives([])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_defaults_are_those_of_the_factory(name):
    assert default_parameters(name) == dict(OBJECTIVES[name]().parameters)


def test_names_are_of_one_thing_only():
    assert not set(OBJECTIVES) & set(MODIFIERS)
    assert not (set(OBJECTIVES) | set(MODIFIERS)) & set(NOT_INCLUDED)
    same = set(TRL_LOSS_TYPES) & set(OBJECTIVES)
    assert same == {"ipo", "aot", "aot_unpaired", "apo_zero", "apo_down", "discopop", "sft"}
    assert "TRL" in OBJECTIVES["ipo"].__doc__  # the only one whose formula is not TRL's
