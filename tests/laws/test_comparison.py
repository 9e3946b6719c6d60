"""Laws of a comparison: what it says of held-out pairs is what brute force and real steps say."""

from itertools import chain

import numpy as np
import pytest
import torch

from preflens import MarginObjective, analyze, dpo, exact_batch_gram, rollout
from preflens.analysis.comparison.first_step import first_steps, stack_batches
from preflens.analysis.comparison.per_pair import cross_gram, stacked_directions
from preflens.analysis.comparison.real_steps import check_rollout, rounding_floor, small_step
from preflens.analysis.comparison.trajectories import Followed, roll, trajectories
from preflens.analysis.geometry import BatchGeometry
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.language_models.parameters import observing
from preflens.log_probs import PairLogps
from preflens.mitigations import what_if
from preflens.mitigations.parse import parse_mitigation
from preflens.objectives.parse import resolve_objectives
from preflens.records.facts import Estimate
from preflens.types import BatchGram
from tests.cases.comparisons import measuring, run, tokenized
from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer
from tests.cases.pairs import ALIKE_ROWS, PROBE_ROWS, TEXT_ROWS

RATE = 0.01
OBJECTIVES = ("dpo", "ipo", "simpo:gamma=0.5", "slic", "cpo", "dpop")
# Llama's norm computes in float32 whatever the model's type.
MODELS = pytest.mark.parametrize(("make", "rtol"), [(tiny_model, 1e-9), (tiny_lora, 1e-4)], ids=["gpt2", "lora"])


def brute_force(model, probe=PROBE_ROWS):
    """Log-probs and Gram of training and held-out pairs in one matrix, from gradients one by one."""
    pairs = [*tokenized(TEXT_ROWS), *tokenized(probe)]
    batch = collate(pairs, pad_token_id=0)
    gram = exact_batch_gram(model, lambda: response_logps(model, batch))
    chosen, rejected = gram.logps.chunk(2)
    return gram, PairLogps(chosen, rejected, chosen, rejected, *batch.tokens.reshape(2, -1).unbind())


def held_out_by_brute_force(model, probe=PROBE_ROWS):
    """Change of every held-out log-prob in one step on the mean loss of all training pairs: (η/N) G c."""
    gram, logps = brute_force(model, probe)
    train = torch.arange(len(TEXT_ROWS))
    rows = torch.cat([train, train + gram.pairs])
    steps = {}
    for label, objective in resolve_objectives(OBJECTIVES).items():
        signed = objective.coefficients(logps.take(train)).signed()
        change = RATE / len(train) * gram.matrix[:, rows] @ signed
        steps[label] = change.reshape(2, -1)[:, len(train) :]
    return steps


def test_the_held_out_means_are_those_of_brute_force():
    found = run(objectives=OBJECTIVES, learning_rate=RATE)
    expected = held_out_by_brute_force(tiny_model())
    for o in found.facts.objectives:
        chosen, rejected = expected[o.label].mean(1).tolist()
        assert o.heldout.chosen.value == pytest.approx(chosen, rel=1e-9)
        assert o.heldout.rejected.value == pytest.approx(rejected, rel=1e-9)
        assert o.margin.value == pytest.approx(chosen - rejected, rel=1e-9)
        assert o.heldout.difference == o.margin


def test_the_influences_of_the_pairs_add_up_to_the_held_out_change():
    found = run(objectives=OBJECTIVES, learning_rate=RATE, seed=3)
    rows = found.rows.to_pandas()
    for o in found.facts.objectives:
        own = rows[rows["objective"] == o.label]
        assert list(own["id"]) == [r["id"] for r in TEXT_ROWS]
        for what in ("chosen", "rejected", "margin"):
            total = own[f"heldout_{what}_influence"].sum()
            whole = o.margin if what == "margin" else getattr(o.heldout, what)
            assert total == pytest.approx(whole.value, rel=1e-9)


def test_own_pair_and_update_batch_are_those_of_analyze():
    found = run(objectives=OBJECTIVES, learning_rate=RATE, seed=5)
    same = analyze(tiny_model(), tiny_tokenizer(), TEXT_ROWS, objectives=OBJECTIVES, update_batch_size=2, seed=5,
                   learning_rate=RATE, progress=False)  # fmt: skip
    rows, theirs = (t.sort_by([("objective", "ascending"), ("id", "ascending")]) for t in (found.rows, same.objectives))
    assert rows["outcome"].to_pylist() == theirs["outcome"].to_pylist()
    for name in set(rows.column_names) & set(theirs.column_names) - {"id", "objective", "outcome"}:
        np.testing.assert_allclose(rows[name].to_numpy(), theirs[name].to_numpy(), rtol=1e-9, atol=1e-13)
    for o, other in zip(found.facts.objectives, same.facts.objectives, strict=True):
        assert o.label == other.label
        assert o.train.chosen.value == pytest.approx(other.chosen_change.value)
        assert o.same_direction_as == other.same_direction_as


def test_each_update_batch_steps_on_its_own_mean_loss_whatever_the_sizes_of_the_others():
    """Batches of three and two pairs: (η/3) G c in one, (η/2) G c in the other, G by brute force."""
    found = run(TEXT_ROWS[:5], objectives=("slic",), learning_rate=RATE, update_batch_size=3)
    assert found.facts.update_batches == (3, 2)
    (gram, logps), numbers = brute_force(tiny_model()), {row["id"]: k for k, row in enumerate(TEXT_ROWS)}
    (objective,) = resolve_objectives(["slic"]).values()
    rows = found.rows.to_pandas().set_index("id")
    for _, batch in found.pairs.to_pandas().groupby("update_batch"):
        here = torch.tensor([numbers[i] for i in batch["id"]])
        both = torch.cat([here, here + gram.pairs])
        signed = objective.coefficients(logps.take(here)).signed()
        expected = (RATE / len(here) * gram.matrix[both][:, both] @ signed).reshape(2, -1)
        for side, name in enumerate(("chosen", "rejected")):
            np.testing.assert_allclose(rows.loc[batch["id"], f"batch_{name}_logp_change"], expected[side], rtol=1e-9)


def test_products_with_the_held_out_means_explain_the_influences():
    found = run(objectives=("slic",), learning_rate=RATE)
    pairs, rows = found.pairs.to_pandas(), found.rows.to_pandas()
    for what in ("chosen", "rejected", "margin"):
        climbs = rows["chosen_coefficient"] * pairs[f"chosen_to_heldout_{what}"]
        falls = rows["rejected_coefficient"] * pairs[f"rejected_to_heldout_{what}"]
        np.testing.assert_allclose(RATE / len(pairs) * (climbs - falls), rows[f"heldout_{what}_influence"], rtol=1e-9)


@MODELS
@pytest.mark.parametrize("fit", [1, 2, 100])
def test_both_ways_to_single_held_out_pairs_are_brute_force(make, rtol, fit):
    model = make()
    objectives = resolve_objectives(OBJECTIVES)
    with observing(model, "trainable"):
        ask, pairs, held_out = measuring(model), tokenized(TEXT_ROWS), tokenized(PROBE_ROWS)
        training = stack_batches(ask.geometry([pairs[:2], pairs[2:]]))
        signed = first_steps(objectives, training, torch.zeros(2, 2, len(pairs), dtype=torch.float64), {}).signed
        passes = [ask.passes(pairs[:2]), ask.passes(pairs[2:])]
        ways = [way(passes, ask.passes(held_out), signed, fit=fit) for way in (stacked_directions, cross_gram)]
    expected = torch.stack(list(held_out_by_brute_force(model).values())) / RATE
    for found in ways:
        torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-3 * rtol)


def test_single_held_out_pairs_average_to_the_means():
    found = run(objectives=OBJECTIVES, learning_rate=RATE, per_pair=True)
    rows = found.held_out.to_pandas()
    for o in found.facts.objectives:
        own = rows[rows["objective"] == o.label]
        assert own["chosen_logp_change"].mean() == pytest.approx(o.heldout.chosen.value, rel=1e-9)
        assert own["margin_change"].mean() == pytest.approx(o.margin.value, rel=1e-9)
    assert found.facts.per_pair == "6 directions added up over the training pairs"


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_single_held_out_pairs_stand_in_the_order_of_the_data_with_their_own_numbers(micro_batch):
    shortest_first = sorted(PROBE_ROWS, key=lambda row: len(row["prompt"] + row["chosen"] + row["rejected"]))
    numbers = {row["id"]: k for k, row in enumerate(PROBE_ROWS)}
    expected = held_out_by_brute_force(tiny_model())["slic"]
    for rows in (shortest_first, shortest_first[::-1]):
        found = run(objectives=("slic",), probe=rows, learning_rate=RATE, per_pair=True, micro_batch=micro_batch)
        assert found.held_out["id"].to_pylist() == [row["id"] for row in rows]
        for side, name in enumerate(("chosen", "rejected")):
            own = [float(expected[side][numbers[row["id"]]]) for row in rows]
            assert found.held_out[f"{name}_logp_change"].to_pylist() == pytest.approx(own, rel=1e-9)


def test_held_out_pairs_of_a_small_step_stand_in_the_order_of_the_data():
    shortest_first = sorted(PROBE_ROWS, key=lambda row: len(row["prompt"] + row["chosen"] + row["rejected"]))
    one, other = (
        run(objectives=("slic",), probe=rows, verify=("slic",)).facts.real_steps[0].small[0]
        for rows in (shortest_first, shortest_first[::-1])
    )
    for name in ("chosen_forecast", "chosen_fact", "rejected_forecast", "rejected_fact"):
        assert getattr(one, name) == pytest.approx(getattr(other, name)[::-1], rel=1e-6)


@pytest.fixture
def ground():
    """A model with pairs to follow: two update batches, three held-out pairs."""
    model = tiny_model()
    pairs = tokenized(TEXT_ROWS)
    with observing(model, "all"):
        ask = measuring(model)
        yield ask.ground([[pairs[0], pairs[2]], [pairs[1], pairs[4]]], tokenized(PROBE_ROWS), pairs=4, seed=0)


@pytest.mark.parametrize("label", ["dpo", "simpo", "slic", "cpo"])
def test_the_error_of_a_small_step_over_held_out_pairs_falls_fourfold_when_the_step_halves(label, ground):
    (objective,) = resolve_objectives([label]).values()

    def error(target):
        step = small_step(objective, ground, 0, target=target)
        off = [
            np.subtract(step.chosen_forecast, step.chosen_fact),
            np.subtract(step.rejected_forecast, step.rejected_fact),
        ]
        return np.linalg.norm(np.concatenate(off)), step

    (large, step), (small, _) = error(1e-3), error(5e-4)
    assert large / small == pytest.approx(4, rel=0.05)
    assert min(step.r2_chosen, step.r2_rejected, step.r2_margin) > 0.999


def test_a_rollout_of_small_steps_is_what_happens_and_one_of_large_steps_is_not(ground):
    objectives = resolve_objectives(["dpo"])

    def checked(rate):
        path = trajectories(objectives, ground.followed, learning_rate=rate, own_rates={"dpo": None}, steps=(0, 1, 8))
        return check_rollout("dpo", objectives["dpo"], ground, path["dpo"][0], horizons=(1, 8), floor=0.0)

    near, far = checked(1e-3), checked(1.0)
    assert near.within_ten_percent == near.steps[-1] == 8
    assert near.error[-1] < 0.01
    assert far.within_ten_percent < 8
    assert far.error[-1] > 0.1


def test_real_steps_are_judged_where_they_are_clearly_above_the_rounding_floor_and_nowhere_else(ground):
    objectives = resolve_objectives(["dpo"])
    paths = trajectories(objectives, ground.followed, learning_rate=1e-3, own_rates={"dpo": None}, steps=(0, 1, 2, 16))

    def checked(floor):
        return check_rollout("dpo", objectives["dpo"], ground, paths["dpo"][0], horizons=(1, 2, 16), floor=floor)

    whole = checked(0.0)
    moved = roll(ground.followed, objectives["dpo"], learning_rate=1e-3, steps=16).change[:, :, 4:]
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
            spot = measuring(model).ground([pairs[:3], pairs[3:]], tokenized(PROBE_ROWS), pairs=6, seed=0)
            floors[dtype] = rounding_floor(objective, spot)
    # Log-probs of about 20 nats have a last digit of 2e-6 in float32; in float64 the curvature of the step is left.
    assert 2e-7 < floors[torch.float32] < 2e-5
    assert floors[torch.float64] < floors[torch.float32] / 3


@pytest.mark.parametrize(("threshold", "floor"), [(-11.0, True), (0.0, False)])
def test_the_rounding_floor_is_measured_on_a_batch_that_moves_something(ground, threshold, floor):
    """Only log-probs above the threshold are pushed: one in the second update batch, or none at all."""
    start = ground.followed.geometry.logps.chosen[:4]
    assert (start > threshold).tolist() == [False, False, False, floor]
    objective = MarginObjective("some", m=lambda z: z, h_w=lambda r: torch.relu(r.logp - threshold),
                                h_l=lambda r: 0 * r.logp, source=dpo().source)  # fmt: skip
    assert (rounding_floor(objective, ground) > 0) == floor


def test_a_rollout_ends_before_a_log_prob_would_be_above_zero(ground):
    (objective,) = resolve_objectives(["sft"]).values()
    start = ground.followed.geometry.logps
    whole = rollout(ground.followed.geometry.gram, start, objective, steps=40, learning_rate=0.01,
                    batches=ground.followed.batches)  # fmt: skip
    highest = torch.stack([whole.chosen, whole.rejected]).flatten(2).amax((0, 2))
    first = int((highest > 0).nonzero()[0])
    assert 1 < first < 40
    path = roll(ground.followed, objective, learning_rate=0.01, steps=40)
    assert (path.impossible_from, path.broke_off, len(path.change)) == (first, None, first)
    steps = (0, 1, first - 1, first, 40)
    kept, _ = trajectories(
        {"sft": objective}, ground.followed, learning_rate=0.01, own_rates={"sft": 0.01}, steps=steps
    )["sft"]
    assert kept.ended == first
    for curve in (kept.train_chosen, kept.train_rejected, kept.heldout_chosen, kept.heldout_rejected):
        assert [value is None for value in curve] == [False, False, False, True, True]
    held = (whole.chosen[first - 1] - whole.chosen[0])[ground.followed.training :].mean()
    assert kept.heldout_chosen[2] == pytest.approx(float(held))


def orthogonal(chosen, rejected):
    """Two pairs to follow with orthogonal gradients of length one: the first steps, the second stands still."""
    logps = PairLogps(*(torch.tensor(v, dtype=torch.float64) for v in (chosen, rejected, chosen, rejected)),
                      torch.tensor([3, 3]), torch.tensor([3, 3]))  # fmt: skip
    gram = BatchGram(torch.eye(4, dtype=torch.float64), torch.cat([logps.chosen, logps.rejected]))
    return Followed(BatchGeometry(logps, gram, gram.pair_gram()), ((0,),), 1)


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


def test_a_trajectory_shows_training_pairs_and_held_out_pairs_each_in_its_own_curve(ground):
    """Two update batches of two pairs, then three held-out pairs: (η/2) G[:, b] c step by step, by hand."""
    (objective,) = resolve_objectives(["slic"]).values()
    gram, start = ground.followed.geometry.gram, ground.followed.geometry.logps
    paths = trajectories(
        {"slic": objective}, ground.followed, learning_rate=1e-3, own_rates={"slic": None}, steps=(0, 1, 2, 3)
    )
    path, values, numbers = paths["slic"][0], torch.stack([start.chosen, start.rejected]), gram.pairs
    for step in range(4):
        moved = values - torch.stack([start.chosen, start.rejected])
        curves = [path.train_chosen, path.train_rejected, path.heldout_chosen, path.heldout_rejected]
        expected = [*moved[:, :4].mean(1).tolist(), *moved[:, 4:].mean(1).tolist()]
        assert [curve[step] for curve in curves] == pytest.approx(expected, abs=1e-12)
        here = torch.tensor(ground.followed.batches[step % 2])
        logps = PairLogps(values[0], values[1], start.ref_chosen, start.ref_rejected)
        signed = objective.coefficients(logps.take(here)).signed()
        rows = torch.cat([here, here + numbers])
        values = values + 1e-3 / 2 * (gram.matrix[:, rows] @ signed).reshape(2, -1)
    assert path.heldout_chosen[3] != pytest.approx(path.train_chosen[3], rel=0.01)


def test_rescaled_objectives_gain_the_margin_that_was_asked_for_at_the_pace_of_the_first_step():
    """By brute force: so many steps like the first one, at each objective's own rate, gain the same margin."""
    probe = [*ALIKE_ROWS[:2], *PROBE_ROWS]
    found = run(objectives=OBJECTIVES, probe=probe, learning_rate=RATE, margin_gain=0.5, horizon=(1, 1000))
    by_force, rescaled = held_out_by_brute_force(tiny_model(), probe), []
    for o in found.facts.objectives:
        margin = float((by_force[o.label][0] - by_force[o.label][1]).mean())
        assert o.margin.value == pytest.approx(margin, rel=1e-9)
        own = [t.learning_rate for t in o.trajectories if t.scale == "equal margin"]
        if o.margin.low > 0:
            assert [1000 * margin * rate / RATE for rate in own] == pytest.approx([0.5], rel=1e-9)
            assert o.margin_scale * margin == pytest.approx(1.0, rel=1e-9)
            rescaled.append(o.label)
        else:
            assert (own, o.margin_scale) == ([], None)
    assert rescaled == ["slic"]


def test_table_and_rollout_have_one_margin():
    """All pairs in one update batch, all followed: the first step of the rollout gains what the table says."""
    found = run(objectives=OBJECTIVES, probe=ALIKE_ROWS, learning_rate=RATE, update_batch_size=6, margin_gain=0.5,
                horizon=(1, 10))  # fmt: skip
    assert found.facts.followed == (6, 6)
    for o in found.facts.objectives:
        for path in o.trajectories:
            gained = path.heldout_chosen[1] - path.heldout_rejected[1]
            assert gained == pytest.approx(o.margin.value * path.learning_rate / RATE, rel=1e-9)
            if path.scale == "equal margin":
                assert gained == pytest.approx(0.5 / 10, rel=1e-9)


def test_values_per_nat_of_margin_are_ratios_of_means_and_only_where_the_margin_clearly_grows():
    mixed = [*ALIKE_ROWS[:2], *PROBE_ROWS]
    facts = [run(objectives=OBJECTIVES, probe=probe, learning_rate=RATE).facts for probe in (ALIKE_ROWS, mixed)]
    seen = set()
    for o in (o for each in facts for o in each.objectives):
        grows = o.margin.low > 0
        seen.add(grows)
        if grows:
            assert o.chosen_per_margin.value == pytest.approx(o.heldout.chosen.value / o.margin.value, rel=1e-9)
            assert o.chosen_per_margin.value - o.rejected_per_margin.value == pytest.approx(1.0, rel=1e-9)
            assert o.per_margin(o.train.chosen.value) == pytest.approx(o.train.chosen.value / o.margin.value, rel=1e-9)
            assert o.chosen_per_margin.low <= o.chosen_per_margin.value <= o.chosen_per_margin.high
        else:
            assert o.chosen_per_margin == o.rejected_per_margin == Estimate(None)
            assert o.per_margin(o.train.chosen.value) is None
    assert seen == {True, False}


def test_at_the_reference_many_first_steps_point_the_same_way_and_the_rollout_tells_them_apart():
    found = run(objectives=("dpo", "ipo"), grid=("dpo.beta=1",), learning_rate=1e-3, margin_gain=3.0, horizon=(1, 60),
                probe=ALIKE_ROWS)  # fmt: skip
    dpo, sharp, ipo = found.facts.objectives
    assert (dpo.same_direction_as, sharp.same_direction_as, ipo.same_direction_as) == (None, "dpo", "dpo")
    paths = [next(t for t in o.trajectories if t.scale == "equal margin") for o in (dpo, sharp, ipo)]
    first, last = ([p.heldout_chosen[i] for p in paths] for i in (1, -1))
    assert first == pytest.approx([first[0]] * 3, rel=1e-9)
    assert abs(last[0] - last[1]) > 1e-3
    assert abs(last[0] - last[2]) > 1e-3


@pytest.mark.parametrize("micro_batch", [1, 6])
def test_micro_batches_change_no_number_beyond_rounding(micro_batch):
    plain, split = (run(objectives=("dpo", "slic"), micro_batch=m, update_batch_size=4) for m in (2, micro_batch))
    for name in plain.rows.column_names[2:]:
        if name != "outcome":
            np.testing.assert_allclose(split.rows[name].to_numpy(), plain.rows[name].to_numpy(), rtol=1e-8, atol=1e-16)
    for one, other in zip(plain.facts.objectives, split.facts.objectives, strict=True):
        ends = [list(chain(*(t.heldout_chosen for t in o.trajectories))) for o in (one, other)]
        np.testing.assert_allclose(*ends, rtol=1e-8, atol=1e-16)


WHAT_IFS = ("normalized", "band:margin=0.2", "reward_calibration", "cone", "controlled", "cone:strength=0")


@pytest.mark.parametrize("mitigation", WHAT_IFS)
def test_a_what_if_steps_with_the_coefficients_that_the_mitigation_makes_of_each_update_batch(mitigation):
    found = run(objectives=("dpo", "slic"), mitigations=(mitigation,), learning_rate=RATE, seed=5)
    assert [o.label for o in found.facts.objectives] == ["dpo", f"dpo+{mitigation}", "slic", f"slic+{mitigation}"]
    rows, gram, logps = found.rows.to_pandas(), *brute_force(tiny_model())
    numbers = {row["id"]: k for k, row in enumerate(TEXT_ROWS)}
    pairs = found.pairs.to_pandas()
    for name in ("dpo", "slic"):
        own = rows[rows["objective"] == f"{name}+{mitigation}"].set_index("id")
        (objective,), state = resolve_objectives([name]).values(), None
        for _, batch in pairs.groupby("update_batch"):
            here = torch.tensor([numbers[i] for i in batch["id"]])
            both = torch.cat([here, here + gram.pairs])
            part = BatchGram(gram.matrix[both][:, both], gram.logps[both])
            made = parse_mitigation(mitigation).apply(objective.coefficients(logps.take(here)), part, state)
            state = made.state
            expected = (part.matrix @ made.coefficients.signed() * RATE / len(here)).reshape(2, -1)
            there = own.loc[batch["id"]]
            np.testing.assert_allclose(there["chosen_coefficient"], made.coefficients.chosen, rtol=1e-6)
            np.testing.assert_allclose(there["batch_chosen_logp_change"], expected[0], rtol=1e-6, atol=1e-12)
            np.testing.assert_allclose(there["batch_rejected_logp_change"], expected[1], rtol=1e-6, atol=1e-12)


def test_normalized_steps_do_no_pair_of_their_own_any_harm_in_a_what_if():
    found = run(objectives=("dpo", "dpop"), mitigations=("normalized",), learning_rate=RATE)
    for o in found.facts.objectives:
        if "+" in o.label:
            assert o.outcomes["both_fall"] == o.outcomes["both_rise"] == o.outcomes["reversed"] == 0


def test_the_rollout_of_a_what_if_goes_through_the_mitigation_and_strength_zero_through_nothing(ground):
    objectives = dict(zip(("dpo", "same", "other"), 3 * list(resolve_objectives(["dpo"]).values()), strict=True))
    maps = {"same": parse_mitigation("cone:strength=0"), "other": parse_mitigation("normalized")}
    paths = trajectories(
        objectives, ground.followed, learning_rate=1e-3, own_rates=dict.fromkeys(objectives), steps=(0, 1, 8),
        mitigations=maps,
    )  # fmt: skip
    plain, same, other = ([p.heldout_chosen for p in paths[name]] for name in objectives)
    assert plain == same
    assert plain != other
    for path in paths["other"][:1]:
        expected = rollout(
            ground.followed.geometry.gram, ground.followed.geometry.logps, objectives["dpo"], steps=8,
            learning_rate=1e-3, batches=ground.followed.batches, through=what_if(maps["other"]),
        )  # fmt: skip
        moved = (expected.chosen - expected.chosen[0])[8, : ground.followed.training].mean()
        assert path.train_chosen[-1] == pytest.approx(float(moved))
