"""A real small language model and real preference pairs: what `compare` forecasts, and what real steps do."""

import pytest

from preflens import Comparison
from tests.support.options import flat_compare

pytestmark = pytest.mark.real_data

SETS = ["polite_edits", "tweets_long", "pandalm_human"]


@pytest.fixture(scope="module", params=SETS)
def metadata(request, real_data, tmp_path_factory):
    """A comparison of 24 training pairs with 12 held-out ones, real steps among it."""
    from preflens import load_model, load_tokenizer, read_pairs

    folder = str(real_data / "models" / "stories260k")
    place = real_data / "data" / "preference"
    held_out = read_pairs(place / f"{request.param}.test.jsonl.gz").pairs[:12]
    found = flat_compare(
        load_model(folder, device="cpu"), load_tokenizer(folder), read_pairs(place / f"{request.param}.train.jsonl.gz"),
        held_out=held_out, limit=24, verify_objectives=("dpo",), update_batch_size=4, rollout_pairs=8,
        trainable="all", horizon=(1, 10, 40), max_length=128,
    )  # fmt: skip
    out = tmp_path_factory.mktemp("compare")
    found.save(out)
    return Comparison.load(out).metadata


def test_a_small_step_is_forecast_on_every_held_out_pair(metadata):
    for real in metadata.real_steps:
        for step in real.small:
            assert min(step.r2_chosen, step.r2_rejected, step.r2_margin) > 0.99


def test_the_rollout_is_right_at_first_and_says_where_it_leaves_the_fact(metadata):
    for real in metadata.real_steps:
        assert real.rollouts
        for check in real.rollouts:
            assert 0 < check.rounding_floor < 1e-3
            assert len(check.error) == len(check.steps)
            judged = [e for e in check.error if e is not None]
            assert not judged or (judged[0] < 0.1 and check.within_ten_percent >= 1)


def test_everything_is_compared_on_held_out_pairs(metadata):
    assert metadata.probe.pairs <= 12
    assert metadata.followed == (8, min(8, metadata.probe.pairs))
    for o in metadata.objectives:
        assert o.heldout.chosen.low <= o.heldout.chosen.value <= o.heldout.chosen.high
        assert (o.margin_scale is None) == (o.margin.low <= 0) == (o.chosen_per_margin.value is None)
        for path in o.trajectories:
            ends = (path.heldout_chosen[-1], path.heldout_rejected[-1])
            assert (None in ends) == (path.ended is not None)
            assert all(value is None or abs(value) < 1e4 for value in path.heldout_chosen)
