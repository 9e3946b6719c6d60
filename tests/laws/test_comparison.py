"""Laws of a comparison: what it says of held-out pairs is what brute force and real steps say."""

from itertools import chain

import numpy as np
import pytest
import torch

from preflens.analysis.comparison.first_step import first_steps, stack_batches
from preflens.analysis.comparison.per_pair import cross_gram, stacked_directions
from preflens.gram import brute_force_batch_gram
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.language_models.parameters import observing
from preflens.mitigations.parse import parse_mitigation
from preflens.objectives.parse import resolve_objectives
from preflens.pair_logps import PairLogps
from preflens.records.common import Estimate
from preflens.types import BatchGram
from tests.cases.comparisons import model_queries, run, tokenized
from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer
from tests.cases.pairs import ALIKE_ROWS, PROBE_ROWS, TEXT_ROWS
from tests.support.options import flat_analyze

RATE = 0.01
OBJECTIVES = ("dpo", "ipo", "simpo:gamma=0.5", "slic", "cpo", "dpop")
# Llama's norm computes in float32 whatever the model's type.
MODELS = pytest.mark.parametrize(("make", "rtol"), [(tiny_model, 1e-9), (tiny_lora, 1e-4)], ids=["gpt2", "lora"])


def brute_force(model, probe=PROBE_ROWS):
    """Log-probs and Gram of training and held-out pairs in one matrix, from gradients one by one."""
    pairs = [*tokenized(TEXT_ROWS), *tokenized(probe)]
    batch = collate(pairs, pad_token_id=0)
    gram = brute_force_batch_gram(model, lambda: response_logps(model, batch))
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
    for o in found.metadata.objectives:
        chosen, rejected = expected[o.label].mean(1).tolist()
        assert o.heldout.chosen.value == pytest.approx(chosen, rel=1e-9)
        assert o.heldout.rejected.value == pytest.approx(rejected, rel=1e-9)
        assert o.margin.value == pytest.approx(chosen - rejected, rel=1e-9)
        assert o.heldout.difference == o.margin


def test_the_influences_of_the_pairs_add_up_to_the_held_out_change():
    found = run(objectives=OBJECTIVES, learning_rate=RATE, seed=3)
    rows = found.rows.to_pandas()
    for o in found.metadata.objectives:
        own = rows[rows["objective"] == o.label]
        assert list(own["id"]) == [r["id"] for r in TEXT_ROWS]
        for what in ("chosen", "rejected", "margin"):
            total = own[f"heldout_{what}_influence"].sum()
            whole = o.margin if what == "margin" else getattr(o.heldout, what)
            assert total == pytest.approx(whole.value, rel=1e-9)


def test_own_pair_and_update_batch_are_those_of_analyze():
    found = run(objectives=OBJECTIVES, learning_rate=RATE, seed=5)
    same = flat_analyze(tiny_model(), tiny_tokenizer(), TEXT_ROWS, objectives=OBJECTIVES, update_batch_size=2, seed=5,
                        learning_rate=RATE)  # fmt: skip
    rows, theirs = (t.sort_by([("objective", "ascending"), ("id", "ascending")]) for t in (found.rows, same.objectives))
    assert rows["outcome"].to_pylist() == theirs["outcome"].to_pylist()
    for name in set(rows.column_names) & set(theirs.column_names) - {"id", "objective", "outcome"}:
        np.testing.assert_allclose(rows[name].to_numpy(), theirs[name].to_numpy(), rtol=1e-9, atol=1e-13)
    for o, other in zip(found.metadata.objectives, same.metadata.objectives, strict=True):
        assert o.label == other.label
        assert o.train.chosen.value == pytest.approx(other.chosen_change.value)
        assert o.same_direction_as == other.same_direction_as


def test_each_update_batch_steps_on_its_own_mean_loss_whatever_the_sizes_of_the_others():
    """Batches of three and two pairs: (η/3) G c in one, (η/2) G c in the other, G by brute force."""
    found = run(TEXT_ROWS[:5], objectives=("slic",), learning_rate=RATE, update_batch_size=3)
    assert found.metadata.update_batches == (3, 2)
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
        ask, pairs, held_out = model_queries(model), tokenized(TEXT_ROWS), tokenized(PROBE_ROWS)
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
    for o in found.metadata.objectives:
        own = rows[rows["objective"] == o.label]
        assert own["chosen_logp_change"].mean() == pytest.approx(o.heldout.chosen.value, rel=1e-9)
        assert own["margin_change"].mean() == pytest.approx(o.margin.value, rel=1e-9)
    assert found.metadata.per_pair == "6 directions added up over the training pairs"


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_single_held_out_pairs_stand_in_the_order_of_the_data_with_their_own_numbers(micro_batch):
    shortest_first = sorted(PROBE_ROWS, key=lambda row: len(row["prompt"] + row["chosen"] + row["rejected"]))
    numbers = {row["id"]: k for k, row in enumerate(PROBE_ROWS)}
    expected = held_out_by_brute_force(tiny_model())["slic"]
    for rows in (shortest_first, shortest_first[::-1]):
        found = run(objectives=("slic",), held_out=rows, learning_rate=RATE, per_pair=True, micro_batch=micro_batch)
        assert found.held_out["id"].to_pylist() == [row["id"] for row in rows]
        for side, name in enumerate(("chosen", "rejected")):
            own = [float(expected[side][numbers[row["id"]]]) for row in rows]
            assert found.held_out[f"{name}_logp_change"].to_pylist() == pytest.approx(own, rel=1e-9)


def test_held_out_pairs_of_a_small_step_stand_in_the_order_of_the_data():
    shortest_first = sorted(PROBE_ROWS, key=lambda row: len(row["prompt"] + row["chosen"] + row["rejected"]))
    one, other = (
        run(objectives=("slic",), held_out=rows, verify_objectives=("slic",)).metadata.real_steps[0].small[0]
        for rows in (shortest_first, shortest_first[::-1])
    )
    for name in ("chosen_forecast", "chosen_measured", "rejected_forecast", "rejected_measured"):
        assert getattr(one, name) == pytest.approx(getattr(other, name)[::-1], rel=1e-6)


def test_rescaled_objectives_gain_the_margin_that_was_asked_for_at_the_pace_of_the_first_step():
    """By brute force: so many steps like the first one, at each objective's own rate, gain the same margin."""
    probe = [*ALIKE_ROWS[:2], *PROBE_ROWS]
    found = run(objectives=OBJECTIVES, held_out=probe, learning_rate=RATE, margin_gain=0.5, horizon=(1, 1000))
    by_force, rescaled = held_out_by_brute_force(tiny_model(), probe), []
    for o in found.metadata.objectives:
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
    found = run(objectives=OBJECTIVES, held_out=ALIKE_ROWS, learning_rate=RATE, update_batch_size=6, margin_gain=0.5,
                horizon=(1, 10))  # fmt: skip
    assert found.metadata.followed == (6, 6)
    for o in found.metadata.objectives:
        for path in o.trajectories:
            gained = path.heldout_chosen[1] - path.heldout_rejected[1]
            assert gained == pytest.approx(o.margin.value * path.learning_rate / RATE, rel=1e-9)
            if path.scale == "equal margin":
                assert gained == pytest.approx(0.5 / 10, rel=1e-9)


def test_values_per_nat_of_margin_are_ratios_of_means_and_only_where_the_margin_clearly_grows():
    mixed = [*ALIKE_ROWS[:2], *PROBE_ROWS]
    metadata = [
        run(objectives=OBJECTIVES, held_out=probe, learning_rate=RATE).metadata for probe in (ALIKE_ROWS, mixed)
    ]
    seen = set()
    for o in (o for each in metadata for o in each.objectives):
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
                held_out=ALIKE_ROWS)  # fmt: skip
    dpo, sharp, ipo = found.metadata.objectives
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
    for one, other in zip(plain.metadata.objectives, split.metadata.objectives, strict=True):
        ends = [list(chain(*(t.heldout_chosen for t in o.trajectories))) for o in (one, other)]
        np.testing.assert_allclose(*ends, rtol=1e-8, atol=1e-16)


WHAT_IFS = ("normalized", "band:margin=0.2", "reward_calibration", "cone", "controlled", "cone:strength=0")


@pytest.mark.parametrize("mitigation", WHAT_IFS)
def test_a_what_if_steps_with_the_coefficients_that_the_mitigation_makes_of_each_update_batch(mitigation):
    found = run(objectives=("dpo", "slic"), mitigations=(mitigation,), learning_rate=RATE, seed=5)
    assert [o.label for o in found.metadata.objectives] == ["dpo", f"dpo+{mitigation}", "slic", f"slic+{mitigation}"]
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
    for o in found.metadata.objectives:
        if "+" in o.label:
            assert o.outcomes["both_fall"] == o.outcomes["both_rise"] == o.outcomes["reversed"] == 0
