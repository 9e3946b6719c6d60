"""The pairs of a rollout are counted on both sides."""

from preflens.language_models.parameters import observing
from tests.cases.comparisons import model_queries, tokenized
from tests.cases.language_models import tiny_model
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS


def test_counts_are_training_pairs_and_held_out_pairs():
    from preflens.analysis.comparison.rollout_pairs import RolloutSetup

    model = tiny_model()
    with observing(model, "ln_f"):
        setup = model_queries(model).rollout_setup([tokenized(TEXT_ROWS[:2])], tokenized(PROBE_ROWS), pairs=3, seed=0)
    assert isinstance(setup, RolloutSetup)
    assert setup.counts == (setup.followed.training, len(setup.in_order)) == (2, 3)
