"""Laws that every objective of the table obeys."""

from dataclasses import replace

import pytest
import torch

from preflens import OBJECTIVES, PairLogps, classify, predict_change
from preflens.dynamics import gradient_condition
from preflens.errors import NumericalError
from preflens.objectives.trl import TRL_LOSS_TYPES, TrlSettings
from preflens.records.outcome import Outcome
from preflens.types import BatchGram, LogpChange
from tests.cases.logps import drawn_logps, extreme_logps, far_logps, moved, rows
from tests.oracles import domain, files, having, oracle

# Derivatives and losses are a few float64 operations: rounding of some tens of units in the last place.
CLOSE = {"rtol": 1e-11, "atol": 1e-12}
# Central differences with step 1e-5: truncation 1e-10, rounding of a loss of size 1e3 at 1e-16/1e-5.
DIFFERENCE = {"rtol": 1e-6, "atol": 1e-6}

TOKEN = [name for name in OBJECTIVES if OBJECTIVES[name]().kind == "token"]
WHOLE = [name for name in OBJECTIVES if name not in TOKEN]
every_objective = pytest.mark.parametrize("name", OBJECTIVES)
every_objective_of_responses = pytest.mark.parametrize("name", WHOLE)


def logps_to_try(name):
    """Log-probs near the reference, and far from it if the objective is defined there."""
    return (drawn_logps(),) if hasattr(oracle(name), "domain") or name in TOKEN else (drawn_logps(), far_logps())


def test_every_objective_has_a_file_of_independent_truth():
    assert {name for name in files() if "@" not in name} == set(OBJECTIVES)
    assert set(having("coefficients")) == set(WHOLE)
    assert {name for name in having("token_coefficients") if "@" not in name} == set(TOKEN)


def test_the_value_of_every_loss_has_an_independent_truth():
    by_trl = {make(TrlSettings(label_smoothing=0.1)).name for make in TRL_LOSS_TYPES.values()}
    without_value = {name for name in OBJECTIVES if "future policy" in OBJECTIVES[name]().inputs}
    assert {*having("loss"), *having("loss_with_detached")} | by_trl | without_value == set(OBJECTIVES)


@every_objective_of_responses
def test_coefficients_equal_the_closed_form(name):
    for logps in logps_to_try(name):
        found = OBJECTIVES[name]().coefficients(logps)
        chosen, rejected = oracle(name).coefficients(logps)
        torch.testing.assert_close(found.chosen, chosen, **CLOSE)
        torch.testing.assert_close(found.rejected, rejected, **CLOSE)
        assert found.per_token is None


@pytest.mark.parametrize("name", having("loss"))
def test_loss_equals_the_paper_formula(name):
    for logps in logps_to_try(name):
        torch.testing.assert_close(OBJECTIVES[name]().loss(logps), oracle(name).loss(logps), **CLOSE)


@every_objective_of_responses
def test_coefficients_are_minus_and_plus_the_gradient_of_the_loss_by_finite_differences(name):
    objective, step = OBJECTIVES[name](), 1e-5
    for place in logps_to_try(name):
        logps = rows(place, slice(7))
        detached = getattr(oracle(name), "loss_with_detached", None)
        loss = objective.loss if detached is None else lambda x, f=detached, fixed=logps: f(x, fixed)
        found = objective.coefficients(logps)
        for side, sign, d in (("chosen", -1, found.chosen), ("rejected", 1, found.rejected)):
            for pair in range(7):  # the sum over the batch is N times its mean, whose derivative the coefficient is
                up, down = (loss(moved(logps, side, pair, h)).sum() for h in (step, -step))
                torch.testing.assert_close(sign * (up - down) / (2 * step), d[pair], **DIFFERENCE)


@pytest.mark.parametrize("name", having("loss_with_detached"))
def test_loss_with_detached_parts_has_the_value_of_the_formula(name):
    for logps in logps_to_try(name):
        expected = oracle(name).loss_with_detached(logps, logps)
        torch.testing.assert_close(OBJECTIVES[name]().loss(logps), expected, **CLOSE)


@every_objective
def test_loss_is_trained_by_autograd_to_its_coefficients_in_float32(name):
    logps = drawn_logps(dtype=torch.float32)
    tokens = [t.clone().requires_grad_() for t in (logps.chosen_token_logps, logps.rejected_token_logps)]
    live = replace(
        logps, chosen=tokens[0].sum(1), rejected=tokens[1].sum(1),
        chosen_token_logps=tokens[0], rejected_token_logps=tokens[1],
    )  # fmt: skip
    loss, found = OBJECTIVES[name]().loss(live), OBJECTIVES[name]().coefficients(logps)
    assert loss.dtype == torch.float32
    gradients = torch.autograd.grad(loss.mean(), tokens, materialize_grads=True)
    for gradient, sign, whole, of_token in (
        (gradients[0], -1, found.chosen, found.per_token and found.per_token.chosen),
        (gradients[1], 1, found.rejected, found.per_token and found.per_token.rejected),
    ):
        # a response's coefficient is that of each of its tokens; what arrives at padding reaches no parameter
        expected = whole[:, None].expand(gradient.shape) if of_token is None else of_token
        inside = torch.arange(gradient.shape[1]) < (logps.chosen_tokens if sign < 0 else logps.rejected_tokens)[:, None]
        scale = max(found.chosen.abs().max().item(), found.rejected.abs().max().item())
        torch.testing.assert_close(
            sign * len(loss) * gradient[inside].double(), expected[inside], rtol=1e-4, atol=1e-5 * scale
        )


@every_objective_of_responses
def test_loss_and_coefficients_are_finite_where_they_exist_and_a_named_error_elsewhere(name):
    objective = OBJECTIVES[name]()
    for logps in (extreme_logps(), extreme_logps((7, 3))):
        inside = domain(name, logps)
        safe = rows(logps, inside)
        assert torch.isfinite(objective.loss(safe)).all()
        found = objective.coefficients(safe)
        for side, exact in zip((found.chosen, found.rejected), oracle(name).coefficients(safe), strict=True):
            assert torch.isfinite(side).all()
            torch.testing.assert_close(side, exact, rtol=1e-9, atol=1e-12)
        for pair in (~inside).nonzero()[:, 0][::9].tolist():
            with pytest.raises(NumericalError, match=rf"Objective `{name}` has no finite .* for pair 0 \(from 0\)"):
                objective.coefficients(rows(logps, slice(pair, pair + 1)))


@pytest.mark.parametrize("name", TOKEN)
def test_token_objectives_are_finite_at_extreme_log_probs(name):
    objective, logps = OBJECTIVES[name](), extreme_logps()
    assert torch.isfinite(objective.loss(logps)).all()
    assert torch.isfinite(objective.coefficients(logps).per_token.rejected).all()


@every_objective
def test_other_pairs_enter_exactly_when_the_kind_says_so(name):
    objective, logps = OBJECTIVES[name](), drawn_logps(seed=3, spread=0.6)
    alone, together = objective.coefficients(rows(logps, slice(3))), objective.coefficients(logps)
    same = torch.equal(together.chosen[:3], alone.chosen) and torch.equal(together.rejected[:3], alone.rejected)
    assert same == (objective.kind != "batch")


@every_objective
def test_the_order_of_pairs_does_not_matter(name):
    objective, logps = OBJECTIVES[name](), drawn_logps()
    turned, plain = objective.coefficients(rows(logps, torch.arange(31, -1, -1))), objective.coefficients(logps)
    torch.testing.assert_close(turned.chosen.flip(0), plain.chosen, **CLOSE)
    torch.testing.assert_close(turned.rejected.flip(0), plain.rejected, **CLOSE)


@every_objective
def test_objective_needs_a_reference_exactly_when_its_loss_changes_with_it(name):
    objective, logps = OBJECTIVES[name](), drawn_logps()
    shifted = replace(logps, ref_chosen=logps.ref_chosen + 0.1, ref_rejected=logps.ref_rejected + 0.1 * torch.rand(32))
    changes = not torch.allclose(objective.loss(logps), objective.loss(shifted), rtol=1e-9)
    assert objective.needs_reference == changes


@every_objective
def test_objective_uses_length_exactly_when_its_loss_changes_with_it(name):
    objective, logps = OBJECTIVES[name](), drawn_logps()
    other = replace(logps, chosen_tokens=logps.chosen_tokens + 3, rejected_tokens=logps.rejected_tokens + 2)
    before, after = objective.coefficients(logps), objective.coefficients(other)
    same = torch.equal(before.chosen, after.chosen) and torch.equal(before.rejected, after.rejected)
    assert objective.uses_length != same


@every_objective
def test_coefficients_leave_the_callers_tensors_and_gradient_mode_alone(name):
    logps = drawn_logps()
    before = logps.chosen.clone()
    with torch.no_grad():
        OBJECTIVES[name]().coefficients(logps)
        assert not torch.is_grad_enabled()
    assert torch.equal(logps.chosen, before)
    assert not logps.chosen.requires_grad
    assert not logps.chosen_token_logps.requires_grad


@every_objective_of_responses
def test_the_condition_holds_exactly_when_the_step_on_the_gradients_says_so(name):
    g = torch.Generator().manual_seed(5)
    logps = drawn_logps()
    c = OBJECTIVES[name]().coefficients(logps)
    g_w, g_l = torch.randn((2, 32, 3), generator=g, dtype=torch.float64)
    gram = BatchGram((both := torch.cat([g_w, g_l])) @ both.T, torch.zeros(64, dtype=torch.float64)).pair_gram()
    update = c.chosen[:, None] * g_w - c.rejected[:, None] * g_l
    rise, fall = (g_w * update).sum(1), -(g_l * update).sum(1)
    slack = gradient_condition(gram, c)
    torch.testing.assert_close(slack.chosen, rise, **CLOSE)
    torch.testing.assert_close(slack.rejected, fall, **CLOSE)
    change = predict_change(gram, c, learning_rate=1.0)
    assert torch.equal(change.chosen > 0, slack.chosen > 0)
    assert torch.equal(change.rejected < 0, slack.rejected > 0)
    positive = (c.chosen > 0) & (c.rejected > 0)
    outcomes = classify(LogpChange(change.chosen[positive], change.rejected[positive]))
    assert Outcome.REVERSED not in outcomes


def test_some_coefficients_are_negative_and_none_is_clamped():
    negative = set()
    for name in WHOLE:
        for logps in logps_to_try(name):
            c = OBJECTIVES[name]().coefficients(logps)
            if bool((c.chosen < 0).any() | (c.rejected < 0).any()):
                negative.add(name)
    assert {"ipo", "sppo", "nca", "apo_down", "cdpo", "cal_dpo", "discopop"} <= negative
    assert not negative & {"dpo", "simpo", "slic", "cpo", "dpop", "kto", "dpo_norm", "bdpo", "rpo", "orpo"}


def test_the_first_step_of_discopop_runs_backwards():
    zero = torch.full((1,), -20.0, dtype=torch.float64)
    c = OBJECTIVES["discopop"]().coefficients(PairLogps(zero, zero, zero, zero))
    assert c.chosen.item() == c.rejected.item() == pytest.approx(-0.07843, abs=1e-5)
    assert "runs backwards" in OBJECTIVES["discopop"].__doc__
