"""Parameters that an objective or a modifier does not accept."""

import pytest
import torch

from preflens import OBJECTIVES, PairLogps, parse_objective
from preflens.errors import ObjectiveError
from preflens.objectives import MODIFIERS
from preflens.objectives.first_step import GENERAL, at_reference, condition_of
from preflens.objectives.parse import default_parameters
from tests.cases.logps import drawn_logps, far_logps


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_every_parameter_of_every_entry_has_to_be_a_finite_number(value):
    for name in (*OBJECTIVES, *MODIFIERS):
        for key in default_parameters(name):
            text = f"{name}:{key}={value}" if name in OBJECTIVES else f"dpo@{name}:{key}={value}"
            with pytest.raises(ObjectiveError, match=f"Parameter `{key}` of objective `{name}` should be"):
                parse_objective(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dpo:beta=0", "`beta` of objective `dpo` should be above 0. Found 0"),
        ("cpo:lam=-1", "`lam` of objective `cpo` should be 0 or more. Found -1"),
        ("odpo:offset=nan", "`offset` of objective `odpo` should be finite. Found nan"),
        ("cdpo:eps=0.5", r"`eps` of objective `cdpo` should be in \[0, 0.5\). Found 0.5"),
        ("exo:eps=0", r"`eps` of objective `exo` should be in \(0, 1\). Found 0"),
        ("bdpo:lam=0", r"`lam` of objective `bdpo` should be in \(0, 1\]. Found 0"),
        ("slime:p=0.5", r"`p` of objective `slime` should be in \[1, inf\). Found 0.5"),
    ],
)
def test_the_message_names_the_parameter_what_is_accepted_and_what_was_found(text, message):
    with pytest.raises(ObjectiveError, match=message):
        parse_objective(text)


@pytest.mark.parametrize(
    "text", ["bdpo:lam=1", "dpo_shift:factor=1", "alphapo:alpha=0", "cdpo:eps=0", "dpop:lam=0", "exo:eps=0.999"]
)
def test_the_ends_that_are_accepted_work(text):
    assert parse_objective(text).inputs


@pytest.mark.parametrize(
    ("special", "plain"), [("bdpo:lam=1", "dpo"), ("dpo_shift:factor=1", "dpo"), ("cdpo:eps=0", "dpo")]
)
def test_objectives_meet_dpo_where_their_papers_say_so(special, plain):
    import torch

    from tests.cases.logps import drawn_logps

    for logps in (drawn_logps(), far_logps()):
        torch.testing.assert_close(parse_objective(special).loss(logps), parse_objective(plain).loss(logps))


def test_alphapo_without_curvature_is_simpo():
    logps = drawn_logps()
    ours = parse_objective("alphapo:beta=2,gamma=1,alpha=0").loss(logps)
    torch.testing.assert_close(ours, parse_objective("simpo:beta=2,gamma=1").loss(logps))


def test_parameters_for_which_nothing_is_representable_are_said_and_break_nothing():
    objective = parse_objective("alphapo:alpha=2000")
    assert objective.inputs == {"length"}
    assert "no coefficients with these parameters. Objective `alphapo` has no finite loss" in at_reference(objective)
    assert condition_of(objective) == GENERAL


def test_orpo_has_a_derivative_at_probabilities_next_to_one():
    q = torch.tensor([-1e-20], dtype=torch.float64)
    logps = PairLogps(q, q.clone(), chosen_tokens=torch.ones(1).long(), rejected_tokens=torch.ones(1).long())
    c = OBJECTIVES["orpo"]().coefficients(logps)
    torch.testing.assert_close(c.rejected, 0.1 * 0.5 / -q)
