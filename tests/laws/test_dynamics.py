"""Laws of the first-order predictions, on drawn gradients and end to end on models."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from preflens import OBJECTIVES, PairLogps, batch_gram, classify, parse_objective, predict_change, rollout
from preflens.analysis.measurement.real_steps import measure_change, plain_update
from preflens.dynamics import band_position, gradient_condition
from preflens.errors import UnsupportedObjectiveError
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.records.outcome import Outcome
from preflens.types import LogpChange, PairCoefficients
from tests.cases.geometries import gram_of_rows as geometry
from tests.cases.language_models import tiny_lora, tiny_model
from tests.cases.logps import drawn_logps
from tests.support.rows import tokenized

numbers = st.floats(-3, 3, width=32).filter(lambda x: abs(x) > 1e-3 or x == 0)
gradients = hnp.arrays(float, (2, 4), elements=numbers)
coefficient = st.floats(-2, 2, width=32)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


@given(gradients, coefficient, coefficient)
def test_the_condition_holds_exactly_when_the_predicted_sign_says_so(rows, d_w, d_l):
    gram, c = geometry(rows).pair_gram(), PairCoefficients(tensor(d_w), tensor(d_l))
    change, slack = predict_change(gram, c, learning_rate=0.5), gradient_condition(gram, c)
    assert torch.equal(slack.chosen > 0, change.chosen > 0)
    assert torch.equal(slack.rejected > 0, change.rejected < 0)
    torch.testing.assert_close(change.chosen, 0.5 * slack.chosen)
    torch.testing.assert_close(change.rejected, -0.5 * slack.rejected)


@given(gradients, coefficient, coefficient)
def test_own_pair_prediction_is_the_inner_product_with_the_update(rows, d_w, d_l):
    g_w, g_l = torch.as_tensor(rows)
    change = predict_change(geometry(rows).pair_gram(), PairCoefficients(tensor(d_w), tensor(d_l)), learning_rate=0.1)
    update = 0.1 * (d_w * g_w - d_l * g_l)
    torch.testing.assert_close(change.chosen[0], g_w @ update, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(change.rejected[0], g_l @ update, atol=1e-12, rtol=1e-9)


@settings(max_examples=300)
@given(gradients, st.floats(0.01, 10), st.floats(0.01, 10))
def test_chosen_never_falls_while_rejected_rises_for_positive_coefficients(rows, d_w, d_l):
    change = predict_change(geometry(rows).pair_gram(), PairCoefficients(tensor(d_w), tensor(d_l)), learning_rate=1.0)
    assert classify(change, 1e-9) != (Outcome.REVERSED,)


@given(gradients, st.floats(0.01, 10), st.floats(0.01, 10))
def test_a_pair_is_inside_the_band_exactly_when_both_conditions_hold(rows, d_w, d_l):
    gram, c = geometry(rows).pair_gram(), PairCoefficients(tensor(d_w), tensor(d_l))
    slack, place = gradient_condition(gram, c), band_position(gram, c).slack.item()
    both = min(slack.chosen.item(), slack.rejected.item())
    if abs(both) > 1e-6 and abs(place) > 1e-9:  # on the edge itself rounding decides
        assert (place > 0) == (both > 0)


@given(hnp.arrays(float, (6, 5), elements=numbers), hnp.arrays(float, (6,), elements=coefficient))
def test_a_batch_step_never_raises_its_own_mean_loss(rows, c):
    gram, signed = geometry(rows), torch.as_tensor(c)
    change = predict_change(gram, PairCoefficients(signed[:3], -signed[3:]), learning_rate=1.0)
    assert signed @ torch.cat([change.chosen, change.rejected]) >= -1e-9


def test_a_batch_of_one_pair_is_the_own_pair_prediction():
    gram, c = geometry([[1.0, 2.0], [0.5, -1.0]]), PairCoefficients(tensor(0.3), tensor(0.7))
    own, batch = (predict_change(g, c, learning_rate=0.1) for g in (gram.pair_gram(), gram))
    torch.testing.assert_close(own.chosen, batch.chosen)
    torch.testing.assert_close(own.rejected, batch.rejected)


# Objectives of log-probs of whole responses, as a Gram of such can predict.
PREDICTABLE = [name for name in OBJECTIVES if OBJECTIVES[name]().inputs <= {"reference", "length"}]


@pytest.mark.parametrize("name", PREDICTABLE)
def test_rollout_of_no_step_is_the_start_and_of_one_step_the_prediction(name):
    torch.manual_seed(1)
    gram = geometry(torch.randn(6, 5, dtype=torch.float64))
    tokens = torch.tensor([3, 4, 5])
    chosen, rejected = -9 * torch.rand(2, 3, dtype=torch.float64)
    logps = PairLogps(chosen, rejected, chosen - 0.4, rejected + 0.3, tokens, tokens)
    objective = OBJECTIVES[name]()
    path = rollout(gram, logps, objective, steps=1, learning_rate=0.01)
    change = predict_change(gram, objective.coefficients(logps), learning_rate=0.01)
    assert torch.equal(path.chosen[0], logps.chosen)
    torch.testing.assert_close(path.chosen[1], logps.chosen + change.chosen)
    torch.testing.assert_close(path.rejected[1], logps.rejected + change.rejected)


@pytest.mark.parametrize("name", ["slime", "fpa", "dpo@wpo"])
def test_rollout_refuses_what_log_probs_of_whole_responses_do_not_determine(name):
    logps = drawn_logps(pairs=3)
    with pytest.raises(UnsupportedObjectiveError, match=f"objective `{name}` also uses: "):
        rollout(geometry(torch.randn(6, 5)), logps, parse_objective(name), steps=1, learning_rate=0.01)


@pytest.mark.parametrize(
    "use", [gradient_condition, band_position, lambda g, c: predict_change(g, c, learning_rate=1.0)]
)
def test_coefficients_of_tokens_are_refused_by_what_needs_one_number_a_response(use):
    gram, c = geometry(torch.randn(6, 5)).pair_gram(), OBJECTIVES["slime"]().coefficients(drawn_logps(pairs=3))
    with pytest.raises(UnsupportedObjectiveError, match="gradients of whole responses cannot predict its step"):
        use(gram, c)
    with pytest.raises(UnsupportedObjectiveError, match="weighs the tokens"):
        c.signed()


@cache
def measured(make):
    """A model, how to score its pairs, their Gram, and log-probs with a reference half a nat away."""
    model, pairs = make(), tokenized()
    batch = collate(pairs, pad_token_id=0)
    forward = [lambda: response_logps(model, batch)]
    gram = batch_gram(model, forward)
    chosen, rejected = gram.logps.chunk(2)
    return model, forward, gram, PairLogps(chosen, rejected, chosen - 0.5, rejected + 0.5, *batch.tokens.chunk(2))


@pytest.mark.parametrize("make", [tiny_model, tiny_lora], ids=["gpt2", "lora"])
@pytest.mark.parametrize("name", PREDICTABLE)
def test_prediction_error_falls_fourfold_when_the_learning_rate_halves(name, make):
    model, forward, gram, logps = measured(make)
    c = OBJECTIVES[name]().coefficients(logps)
    update = plain_update(model, forward, [c])
    unit = predict_change(gram, c, learning_rate=1.0)
    rate = 3e-3 / torch.cat([unit.chosen, unit.rejected]).abs().max().item()  # small steps: second order, not fourth
    if make is tiny_lora:
        rate *= 10  # its rotary embedding rounds in float32; larger steps stay above that

    def error(learning_rate):
        measured = measure_change(model, forward, update, learning_rate=learning_rate)
        forecast = LogpChange(learning_rate * unit.chosen, learning_rate * unit.rejected)
        return torch.cat([measured.chosen - forecast.chosen, measured.rejected - forecast.rejected]).norm().item()

    assert error(rate) / error(rate / 2) == pytest.approx(4.0, rel=0.06)
