"""Real rollouts: the last step up to which a rollout is right."""

import pytest

from preflens.analysis.comparison.real_rollouts import good_until, real_rollout
from preflens.analysis.comparison.rollouts import trajectories
from preflens.language_models.parameters import observing
from preflens.objectives import dpo
from tests.cases.comparisons import model_queries, tokenized
from tests.cases.language_models import tiny_model
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS


@pytest.mark.parametrize(
    ("error", "last"),
    [((0.01, 0.1, 0.2), 2), ((0.2, 0.01, 0.01), 0), ((None, 0.05, 0.05), 4), ((None, None, None), None)],
)
def test_a_rollout_is_good_until_its_first_error_above_a_tenth(error, last):
    assert good_until((1, 2, 4), error) == last


def test_a_rollout_of_tiny_steps_is_right_to_its_end_and_nothing_is_judged_below_the_floor():
    model, pairs = tiny_model(), tokenized(TEXT_ROWS)
    with observing(model, "ln_f"):
        setup = model_queries(model).rollout_setup([pairs[:2]], tokenized(PROBE_ROWS), pairs=2, seed=0)
        (path,) = trajectories(
            {"dpo": dpo()}, setup.followed, learning_rate=1e-3, equal_margin_rates={"dpo": None}, steps=(0, 1, 3)
        )["dpo"]
        check = real_rollout("dpo", dpo(), setup, path, horizons=(1, 3), floor=0.0)
        assert real_rollout("dpo", dpo(), setup, path, horizons=(1, 3), floor=1.0) is None
    assert check.within_ten_percent == check.steps[-1] == 3
    assert check.chosen_measured[-1] == pytest.approx(path.heldout_chosen[-1], rel=0.1)
    assert not check.diverged
