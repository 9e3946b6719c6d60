"""Small real steps agree with autograd's prediction of them."""

import pytest

from preflens.analysis.comparison.real_steps import rounding_floor, small_step, take_real_steps
from preflens.language_models.parameters import observing
from preflens.objectives import dpo
from tests.cases.comparisons import model_queries, tokenized
from tests.cases.language_models import tiny_model
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS


@pytest.fixture
def setup():
    model, pairs = tiny_model(), tokenized(TEXT_ROWS)
    with observing(model, "ln_f"):
        yield model_queries(model).rollout_setup([pairs[:2], pairs[2:4]], tokenized(PROBE_ROWS), pairs=4, seed=0)


def test_a_small_step_has_the_size_it_aims_at_and_is_predicted(setup):
    step = small_step(dpo(), setup, 1, target=1e-3)
    values = [*step.chosen_forecast, *step.rejected_forecast]
    assert (sum(v * v for v in values) / len(values)) ** 0.5 == pytest.approx(1e-3)
    assert step.chosen_measured == pytest.approx(step.chosen_forecast, abs=2e-5)
    assert step.update_batch == 1
    assert step.r2_margin > 0.99


def test_no_more_small_steps_are_taken_than_there_are_update_batches(setup):
    parts = []
    record = take_real_steps("dpo", dpo(), setup, (), small_steps=5, horizons=(1,), advance=parts.append)
    assert [s.update_batch for s in record.small] == [0, 1]
    assert (record.rollouts, parts) == ((), [1, 1])


def test_the_rounding_floor_is_small_in_float64(setup):
    assert 0 < rounding_floor(dpo(), setup) < 1e-4
