"""Laws that every objective of the table obeys."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preflens import OBJECTIVES, PairLogps
from tests.oracles.losses import LOSSES
from tests.oracles.objectives import CLOSED_FORMS

# Derivatives and losses are a few float64 operations: rounding of some tens of units in the last place.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}
# Central differences with step 1e-5: truncation 1e-10, rounding of a loss of size 1e3 at 1e-16/1e-5.
DIFFERENCE = {"rtol": 1e-6, "atol": 1e-7}

every_objective = pytest.mark.parametrize("name", OBJECTIVES)


def drawn_logps(seed=0, pairs=64):
    g = torch.Generator().manual_seed(seed)
    values = [-60 * torch.rand(pairs, generator=g, dtype=torch.float64) for _ in range(4)]
    tokens = [torch.randint(1, 40, (pairs,), generator=g) for _ in range(2)]
    return PairLogps(*values, *tokens)


@every_objective
def test_every_objective_has_an_independent_closed_form(name):
    assert name in CLOSED_FORMS
    assert name in LOSSES


@every_objective
def test_coefficients_equal_the_closed_form(name):
    logps = drawn_logps()
    found = OBJECTIVES[name]().coefficients(logps)
    chosen, rejected = CLOSED_FORMS[name](logps)
    torch.testing.assert_close(found.chosen, chosen, **CLOSE)
    torch.testing.assert_close(found.rejected, rejected, **CLOSE)


@every_objective
def test_loss_equals_the_paper_formula(name):
    logps = drawn_logps()
    torch.testing.assert_close(OBJECTIVES[name]().loss(logps), LOSSES[name](logps), **CLOSE)


@every_objective
def test_coefficients_are_minus_and_plus_the_gradient_of_the_loss_by_finite_differences(name):
    logps, objective, step = drawn_logps(), OBJECTIVES[name](), 1e-5
    found = objective.coefficients(logps)
    for side, sign, d in (("chosen", -1, found.chosen), ("rejected", 1, found.rejected)):
        up = objective.loss(replace(logps, **{side: getattr(logps, side) + step}))
        down = objective.loss(replace(logps, **{side: getattr(logps, side) - step}))
        torch.testing.assert_close(sign * (up - down) / (2 * step), d, **DIFFERENCE)


@every_objective
@given(extreme=st.sampled_from([-1e4, -5e3, -1e-3]), margin=st.sampled_from([-1e3, 0.0, 1e3]))
def test_loss_and_coefficients_are_finite_at_extreme_log_probs(name, extreme, margin):
    one = torch.ones(1, dtype=torch.float64)
    tokens = torch.ones(1, dtype=torch.long)
    logps = PairLogps(one * (extreme + margin), one * extreme, one * extreme, one * extreme, tokens, tokens)
    objective = OBJECTIVES[name]()
    assert torch.isfinite(objective.loss(logps)).all()
    assert torch.isfinite(objective.coefficients(logps).signed()).all()


@every_objective
def test_loss_of_a_pair_does_not_depend_on_the_other_pairs(name):
    logps = drawn_logps()
    first = PairLogps(*(getattr(logps, f)[:3] for f in logps.__dataclass_fields__))
    assert torch.equal(OBJECTIVES[name]().loss(logps)[:3], OBJECTIVES[name]().loss(first))


@every_objective
def test_objective_needs_a_reference_exactly_when_its_loss_changes_with_it(name):
    objective, logps = OBJECTIVES[name](), drawn_logps()
    moved = replace(logps, ref_chosen=logps.ref_chosen + 1, ref_rejected=logps.ref_rejected - 1)
    assert objective.needs_reference != torch.equal(objective.loss(logps), objective.loss(moved))


@every_objective
def test_objective_uses_length_exactly_when_its_loss_changes_with_it(name):
    objective, logps = OBJECTIVES[name](), drawn_logps()
    moved = replace(logps, chosen_tokens=logps.chosen_tokens + 3)
    assert objective.uses_length != torch.equal(objective.loss(logps), objective.loss(moved))


@every_objective
def test_coefficients_leave_the_callers_tensors_and_gradient_mode_alone(name):
    logps = drawn_logps()
    before = logps.chosen.clone()
    with torch.no_grad():
        OBJECTIVES[name]().coefficients(logps)
        assert not torch.is_grad_enabled()
    assert torch.equal(logps.chosen, before)
    assert not logps.chosen.requires_grad


@every_objective
def test_docstring_states_formula_arguments_and_reference(name):
    text = OBJECTIVES[name].__doc__
    assert "ℓ =" in text
    assert all(section in text for section in ("Args:", "Returns:", "References:", "https://arxiv.org/abs/"))
    assert OBJECTIVES[name]().source.arxiv in text
