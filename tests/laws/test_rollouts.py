"""Laws of many steps: a rollout follows the Gram and ends where it must; real steps judge it above their rounding."""

import numpy as np
import pytest
import torch

from preflens import MarginObjective, rollout
from preflens.analysis.comparison.real_rollouts import real_rollout
from preflens.analysis.comparison.real_steps import rounding_floor, small_step
from preflens.analysis.comparison.rollout_pairs import RolloutPairs
from preflens.analysis.comparison.rollouts import roll, trajectories
from preflens.analysis.measurement.geometry import BatchGeometry
from preflens.language_models.parameters import observing
from preflens.mitigations import as_rollout_transform
from preflens.mitigations.parse import parse_mitigation
from preflens.objectives import dpo
from preflens.objectives.parse import resolve_objectives
from preflens.pair_logps import PairLogps
from preflens.types import BatchGram
from tests.cases.comparisons import model_queries, tokenized
from tests.cases.language_models import tiny_model
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS


@pytest.fixture
def setup():
    """A model with pairs to follow: two update batches, three held-out pairs."""
    model = tiny_model()
    pairs = tokenized(TEXT_ROWS)
    with observing(model, "all"):
        ask = model_queries(model)
        yield ask.rollout_setup([[pairs[0], pairs[2]], [pairs[1], pairs[4]]], tokenized(PROBE_ROWS), pairs=4, seed=0)


@pytest.mark.parametrize("label", ["dpo", "simpo", "slic", "cpo"])
def test_the_error_of_a_small_step_over_held_out_pairs_falls_fourfold_when_the_step_halves(label, setup):
    (objective,) = resolve_objectives([label]).values()

    def error(target):
        step = small_step(objective, setup, 0, target=target)
        off = [
            np.subtract(step.chosen_forecast, step.chosen_measured),
            np.subtract(step.rejected_forecast, step.rejected_measured),
        ]
        return np.linalg.norm(np.concatenate(off)), step

    (large, step), (small, _) = error(1e-3), error(5e-4)
    assert large / small == pytest.approx(4, rel=0.05)
    assert min(step.r2_chosen, step.r2_rejected, step.r2_margin) > 0.999


def test_a_rollout_of_small_steps_is_what_happens_and_one_of_large_steps_is_not(setup):
    objectives = resolve_objectives(["dpo"])

    def checked(rate):
        path = trajectories(
            objectives, setup.followed, learning_rate=rate, equal_margin_rates={"dpo": None}, steps=(0, 1, 8)
        )
        return real_rollout("dpo", objectives["dpo"], setup, path["dpo"][0], horizons=(1, 8), floor=0.0)

    near, far = checked(1e-3), checked(1.0)
    assert near.within_ten_percent == near.steps[-1] == 8
    assert near.error[-1] < 0.01
    assert far.within_ten_percent < 8
    assert far.error[-1] > 0.1


def test_real_steps_take_their_coefficients_anew_as_the_rollout_does(setup):
    """The target of this loss is so near that its pull is mostly gone after eight steps."""
    objectives = resolve_objectives(["ipo:tau=50"])
    label, objective = next(iter(objectives.items()))
    paths = trajectories(
        objectives, setup.followed, learning_rate=1e-3, equal_margin_rates={label: None}, steps=(0, 1, 8)
    )
    check = real_rollout(label, objective, setup, paths[label][0], horizons=(1, 8), floor=0.0)
    assert check.rejected_measured[-1] < 2 * check.rejected_measured[0]
    assert max(check.error) < 0.01


def test_real_steps_are_judged_where_they_are_clearly_above_the_rounding_floor_and_nowhere_else(setup):
    objectives = resolve_objectives(["dpo"])
    paths = trajectories(
        objectives, setup.followed, learning_rate=1e-3, equal_margin_rates={"dpo": None}, steps=(0, 1, 2, 16)
    )

    def checked(floor):
        return real_rollout("dpo", objectives["dpo"], setup, paths["dpo"][0], horizons=(1, 2, 16), floor=floor)

    whole = checked(0.0)
    moved = roll(setup.followed, objectives["dpo"], learning_rate=1e-3, steps=16).change[:, :, 4:]
    size = moved.square().mean((1, 2)).sqrt()[list(whole.steps)]
    assert None not in whole.error
    floor = float(size[1]) / 31  # the second point is judged, the first is not
    assert float(size[0]) < 30 * floor
    part = checked(floor)
    assert (part.error[0], part.rounding_floor) == (None, floor)
    assert part.error[1:] == whole.error[1:]
    assert part.within_ten_percent == whole.within_ten_percent == 16
    assert checked(float(size.max())) is None


def test_the_rounding_floor_is_that_of_the_precision_of_the_model():
    floors = {}
    (objective,) = resolve_objectives(["dpo"]).values()
    for dtype in (torch.float64, torch.float32):
        model, pairs = tiny_model(dtype=dtype), tokenized(TEXT_ROWS)
        with observing(model, "all"):
            spot = model_queries(model).rollout_setup([pairs[:3], pairs[3:]], tokenized(PROBE_ROWS), pairs=6, seed=0)
            floors[dtype] = rounding_floor(objective, spot)
    # Log-probs of about 20 nats have a last digit of 2e-6 in float32; in float64 the curvature of the step is left.
    assert 2e-7 < floors[torch.float32] < 2e-5
    assert floors[torch.float64] < floors[torch.float32] / 3


@pytest.mark.parametrize(("threshold", "floor"), [(-11.0, True), (0.0, False)])
def test_the_rounding_floor_is_measured_on_a_batch_that_moves_something(setup, threshold, floor):
    """Only log-probs above the threshold are pushed: one in the second update batch, or none at all."""
    start = setup.followed.geometry.logps.chosen[:4]
    assert (start > threshold).tolist() == [False, False, False, floor]
    objective = MarginObjective("some", m=lambda z: z, h_w=lambda r: torch.relu(r.logp - threshold),
                                h_l=lambda r: 0 * r.logp, source=dpo().source)  # fmt: skip
    assert (rounding_floor(objective, setup) > 0) == floor


def test_a_rollout_ends_before_a_log_prob_would_be_above_zero(setup):
    (objective,) = resolve_objectives(["sft"]).values()
    start = setup.followed.geometry.logps
    whole = rollout(setup.followed.geometry.gram, start, objective, steps=40, learning_rate=0.01,
                    batches=setup.followed.batches)  # fmt: skip
    highest = torch.stack([whole.chosen, whole.rejected]).flatten(2).amax((0, 2))
    first = int((highest > 0).nonzero()[0])
    assert 1 < first < 40
    path = roll(setup.followed, objective, learning_rate=0.01, steps=40)
    assert (path.impossible_from, path.broke_off, len(path.change)) == (first, None, first)
    steps = (0, 1, first - 1, first, 40)
    kept, _ = trajectories(
        {"sft": objective}, setup.followed, learning_rate=0.01, equal_margin_rates={"sft": 0.01}, steps=steps
    )["sft"]
    assert kept.ended == first
    for curve in (kept.train_chosen, kept.train_rejected, kept.heldout_chosen, kept.heldout_rejected):
        assert [value is None for value in curve] == [False, False, False, True, True]
    held = (whole.chosen[first - 1] - whole.chosen[0])[setup.followed.training :].mean()
    assert kept.heldout_chosen[2] == pytest.approx(float(held))


def orthogonal(chosen, rejected):
    """Two pairs to follow with orthogonal gradients of length one: the first steps, the second stands still."""
    logps = PairLogps(*(torch.tensor(v, dtype=torch.float64) for v in (chosen, rejected, chosen, rejected)),
                      torch.tensor([3, 3]), torch.tensor([3, 3]))  # fmt: skip
    gram = BatchGram(torch.eye(4, dtype=torch.float64), torch.cat([logps.chosen, logps.rejected]))
    return RolloutPairs(BatchGeometry(logps, gram, gram.pair_gram()), ((0,),), 1)


def test_a_rollout_ends_where_its_tokens_have_no_probability_left():
    """Both sides fall by 200 nats a step: below −745 nats a token, e to that power is no number."""
    falling = MarginObjective("falling", m=lambda z: z, h_w=lambda r: -r.logp, h_l=lambda r: r.logp,
                              source=dpo().source)  # fmt: skip
    path = roll(orthogonal([-3.0, -3.0], [-4.0, -4.0]), falling, learning_rate=200.0, steps=400)
    assert (path.broke_off, path.impossible_from) == (12, None)  # −3 − 12 · 200 < −3 · 745
    assert path.change[11, 0].tolist() == pytest.approx([-2200.0, 0.0])


def test_a_log_prob_that_rounding_put_above_zero_ends_no_rollout_by_itself():
    (objective,) = resolve_objectives(["dpo"]).values()
    path = roll(orthogonal([-3.0, 1e-7], [-4.0, 1e-7]), objective, learning_rate=0.1, steps=5)
    assert (path.broke_off, path.impossible_from, len(path.change)) == (None, None, 6)


def test_a_rollout_moves_held_out_pairs_exactly_where_the_model_is_linear():
    """a = X θ: the Gram never changes, so rolled-out log-probs are those of real steps, whoever shares them."""
    x = torch.randn(10, 4, dtype=torch.float64)  # pairs 0 to 3 in two batches, pair 4 held out
    theta, batches = torch.randn(4, dtype=torch.float64), [[0, 2], [3, 1]]
    (objective,) = resolve_objectives(["dpo:beta=2"]).values()

    def logps(values):
        start = x @ torch.zeros(4, dtype=torch.float64)
        return PairLogps(values[:5], values[5:], start[:5], start[5:])

    found = rollout(
        BatchGram(x @ x.T, x @ theta), logps(x @ theta), objective, steps=5, learning_rate=0.1, batches=batches
    )
    for step in range(5):
        here = torch.tensor(batches[step % 2])
        signed = objective.coefficients(logps(x @ theta).take(here)).signed()
        theta = theta + 0.1 / 2 * x[torch.cat([here, here + 5])].T @ signed
        torch.testing.assert_close(found.chosen[step + 1], (x @ theta)[:5])
        torch.testing.assert_close(found.rejected[step + 1], (x @ theta)[5:])


def test_a_trajectory_shows_training_pairs_and_held_out_pairs_each_in_its_own_curve(setup):
    """Two update batches of two pairs, then three held-out pairs: (η/2) G[:, b] c step by step, by hand."""
    (objective,) = resolve_objectives(["slic"]).values()
    gram, start = setup.followed.geometry.gram, setup.followed.geometry.logps
    paths = trajectories(
        {"slic": objective}, setup.followed, learning_rate=1e-3, equal_margin_rates={"slic": None}, steps=(0, 1, 2, 3)
    )
    path, values, numbers = paths["slic"][0], torch.stack([start.chosen, start.rejected]), gram.pairs
    for step in range(4):
        moved = values - torch.stack([start.chosen, start.rejected])
        curves = [path.train_chosen, path.train_rejected, path.heldout_chosen, path.heldout_rejected]
        expected = [*moved[:, :4].mean(1).tolist(), *moved[:, 4:].mean(1).tolist()]
        assert [curve[step] for curve in curves] == pytest.approx(expected, abs=1e-12)
        here = torch.tensor(setup.followed.batches[step % 2])
        logps = PairLogps(values[0], values[1], start.ref_chosen, start.ref_rejected)
        signed = objective.coefficients(logps.take(here)).signed()
        rows = torch.cat([here, here + numbers])
        values = values + 1e-3 / 2 * (gram.matrix[:, rows] @ signed).reshape(2, -1)
    assert path.heldout_chosen[3] != pytest.approx(path.train_chosen[3], rel=0.01)


def test_the_rollout_of_a_what_if_goes_through_the_mitigation_and_strength_zero_through_nothing(setup):
    objectives = dict(zip(("dpo", "same", "other"), 3 * list(resolve_objectives(["dpo"]).values()), strict=True))
    maps = {"same": parse_mitigation("cone:strength=0"), "other": parse_mitigation("normalized")}
    paths = trajectories(
        objectives, setup.followed, learning_rate=1e-3, equal_margin_rates=dict.fromkeys(objectives), steps=(0, 1, 8),
        mitigations=maps,
    )  # fmt: skip
    plain, same, other = ([p.heldout_chosen for p in paths[name]] for name in objectives)
    assert plain == same
    assert plain != other
    for path in paths["other"][:1]:
        expected = rollout(
            setup.followed.geometry.gram, setup.followed.geometry.logps, objectives["dpo"], steps=8,
            learning_rate=1e-3, batches=setup.followed.batches, transform=as_rollout_transform(maps["other"]),
        )  # fmt: skip
        moved = (expected.chosen - expected.chosen[0])[8, : setup.followed.training].mean()
        assert path.train_chosen[-1] == pytest.approx(float(moved))
