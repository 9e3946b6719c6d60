"""The main job, from Python."""

import math

import numpy as np
import pytest
import torch

from preflens import MarginObjective, batch_gram, predict_change
from preflens.analysis.measurement.update_batches import update_batches
from preflens.errors import NumericalError, UnsupportedModelError
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.language_models.reading import pairs_in_memory
from preflens.language_models.tokenizing import tokenize_pairs
from preflens.objectives import dpo
from preflens.pair_logps import PairLogps
from tests.cases.analyses import typical
from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS, chat_rows
from tests.support.model_state import assert_same_state, state
from tests.support.options import flat_analyze


def run(model=None, rows=TEXT_ROWS, **arguments):
    return flat_analyze(model or tiny_model(), tiny_tokenizer(), rows, **arguments)


def test_rows_are_what_the_library_says_one_call_at_a_time():
    model = tiny_model()
    result = run(model, update_batch_size=4, seed=3, learning_rate=0.01)
    pairs = tokenize_pairs(pairs_in_memory(TEXT_ROWS).pairs, tiny_tokenizer(), max_length=96).pairs
    rows = {r["id"]: r for r in result.objectives.to_pylist()}
    for batch in update_batches(len(pairs), size=4, seed=3):
        part = [pairs[i] for i in batch]
        laid_out = collate(part, pad_token_id=0)
        gram = batch_gram(model, lambda laid_out=laid_out: response_logps(model, laid_out))
        chosen, rejected = gram.logps.chunk(2)
        coefficients = dpo().coefficients(PairLogps(chosen, rejected, chosen, rejected))
        own = predict_change(gram.pair_gram(), coefficients, learning_rate=0.01)
        shared = predict_change(gram, coefficients, learning_rate=0.01)
        for i, pair in enumerate(part):
            row = rows[pair.pair.id]
            assert row["chosen_coefficient"] == pytest.approx(0.05)
            assert row["chosen_logp_change"] == pytest.approx(own.chosen[i].item(), rel=1e-9, abs=1e-12)
            assert row["rejected_logp_change"] == pytest.approx(own.rejected[i].item(), rel=1e-9, abs=1e-12)
            assert row["batch_chosen_logp_change"] == pytest.approx(shared.chosen[i].item(), rel=1e-9, abs=1e-12)
            assert row["batch_rejected_logp_change"] == pytest.approx(shared.rejected[i].item(), rel=1e-9, abs=1e-12)


def test_pairs_stand_in_the_order_of_the_data_with_their_texts_and_counts():
    table = typical().pairs
    assert table["id"].to_pylist() == [r["id"] for r in TEXT_ROWS]
    assert table["chosen"].to_pylist() == [r["chosen"] for r in TEXT_ROWS]
    assert table["prompt_tokens"].to_pylist() == [3, 2, 7, 2, 3, 24]
    assert table["chosen_tokens"].to_pylist() == [7, 5, 2, 3, 2, 3]
    assert sorted(set(table["update_batch"].to_pylist())) == [0, 1, 2]


def test_identical_responses_have_an_unchanged_outcome_or_fall_together():
    rows = {(r["id"], r["objective"]): r for r in typical().objectives.to_pylist()}
    assert rows["same", "dpo"]["outcome"] == "unchanged"


@pytest.mark.parametrize("seed", range(3))
def test_identical_responses_survive_the_rounding_of_float32_in_every_layer(seed):
    model = tiny_model("llama", dtype=torch.float32, seed=seed)
    rows = run(model, update_batch_size=2).pairs.to_pylist()
    assert next(r for r in rows if r["id"] == "same")["cosine"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("make", [tiny_model, tiny_lora], ids=["gpt2", "lora"])
def test_the_model_is_untouched(make):
    model = make().train()
    before = state(model)
    run(model, verify_batches=1, update_batch_size=3)
    assert_same_state(state(model), before)


def test_the_model_is_untouched_after_an_error():
    model = tiny_model().train()
    before = state(model)
    with pytest.raises(ValueError, match="chooses no parameter"):
        run(model, trainable="nothing")
    with pytest.raises(RuntimeError, match="midway"):
        run(model, objectives=[dpo(), Failing()], verify_batches=1)
    assert_same_state(state(model), before)


class Failing:
    """An objective that raises when its coefficients are wanted."""

    name, parameters, needs_reference = "failing", {}, False
    kind, inputs, uses_length, source = "pairwise", frozenset(), False, None

    def loss(self, logps):  # noqa: ARG002  # the name is given
        raise RuntimeError("midway")

    coefficients = loss


@pytest.mark.parametrize("micro_batch", [1, 2, 6])
def test_micro_batches_change_no_number_beyond_rounding(micro_batch):
    plain, split = run(update_batch_size=6), run(update_batch_size=6, micro_batch=micro_batch)
    for name in ("chosen_logp", "rejected_logp", "chosen_sq_norm", "inner_product"):
        np.testing.assert_allclose(split.pairs[name].to_numpy(), plain.pairs[name].to_numpy(), rtol=1e-10)


def test_update_batches_decide_the_cross_pair_terms_and_nothing_else():
    one, other = run(update_batch_size=6), run(update_batch_size=1)
    columns = [c for c in one.objectives.column_names if not c.startswith("batch_")]
    for name in columns:
        values = zip(one.objectives[name].to_pylist(), other.objectives[name].to_pylist(), strict=True)
        assert all(
            a == b if isinstance(a, (str, type(None))) else math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
            for a, b in values
        )
    assert other.objectives["batch_chosen_logp_change"].to_pylist() == pytest.approx(
        other.objectives["chosen_logp_change"].to_pylist(), rel=1e-9
    )
    assert one.objectives["batch_chosen_logp_change"].to_pylist() != pytest.approx(
        one.objectives["chosen_logp_change"].to_pylist(), rel=1e-3
    )


def test_the_record_says_the_real_sizes_of_the_update_batches():
    for size, sizes in ((4, (3, 3)), (16, (6,)), (5, (3, 3))):
        found = run(update_batch_size=size)
        assert found.metadata.update_batches == sizes
        assert np.bincount(found.pairs["update_batch"].to_numpy()).tolist() == list(sizes)


def test_a_limit_draws_a_sample_that_the_seed_fixes():
    found = {seed: run(limit=3, seed=seed).pairs["id"].to_pylist() for seed in range(5)}
    assert all(len(ids) == 3 for ids in found.values())
    assert run(limit=3, seed=2).pairs["id"].to_pylist() == found[2]
    assert len({tuple(ids) for ids in found.values()}) > 1
    assert run(limit=100).pairs.num_rows == len(TEXT_ROWS)


def test_a_limit_counts_usable_pairs():
    assert run(limit=5, max_length=12).pairs.num_rows == 5
    assert run(limit=5, max_length=12, seed=1).metadata.data.dropped in ({}, {"prompt fills the maximal length": 1})


def test_reference_is_the_policy_itself_unless_another_is_named():
    own, other = run(), run(reference=tiny_model(seed=1))
    assert own.pairs["ref_chosen_logp"].equals(own.pairs["chosen_logp"])
    assert not other.pairs["ref_chosen_logp"].equals(other.pairs["chosen_logp"])
    assert own.pairs["chosen_sq_norm"].to_pylist() == pytest.approx(other.pairs["chosen_sq_norm"].to_pylist())
    assert own.metadata.model.reference == "self"


def test_adapter_off_is_the_base_model():
    model = tiny_lora()
    found = run(model, reference="adapter-off")
    with torch.no_grad(), model.disable_adapter():
        pairs = tokenize_pairs(pairs_in_memory(TEXT_ROWS).pairs, tiny_tokenizer(), max_length=96).pairs
        expected = response_logps(model, collate(pairs, pad_token_id=0)).chunk(2)[0]
    np.testing.assert_allclose(found.pairs["ref_chosen_logp"].to_numpy(), expected.numpy(), atol=1e-4)
    assert found.pairs["ref_chosen_logp"].to_pylist() != pytest.approx(found.pairs["chosen_logp"].to_pylist())


def test_experts_that_are_multiplied_without_float64_are_refused_by_name():
    model = tiny_model("mixtral")
    model.set_experts_implementation("grouped_mm")
    with pytest.raises(
        UnsupportedModelError, match=r'takes no float64. Call `model.set_experts_implementation\("eager"\)`'
    ):
        run(model)
    model.set_experts_implementation("eager")
    assert run(model).pairs.num_rows == len(TEXT_ROWS)


def test_without_a_reference_objectives_that_need_none_work():
    found = run(reference="none", objectives=["simpo", "slic", "cpo"])
    assert found.pairs["ref_chosen_logp"].null_count == len(TEXT_ROWS)
    with pytest.raises(ValueError, match="Objective `dpo` compares with a reference model, and `reference` is none"):
        run(reference="none", objectives=["simpo", "dpo"])


def test_parameters_that_step_decide_the_geometry():
    everything, some = run(), run(trainable="ln_f")
    assert some.metadata.model.trainable == 32
    assert everything.metadata.model.trainable == everything.metadata.model.parameters
    assert [layer.name for layer in some.metadata.layers] == ["transformer.ln_f"]
    whole = {layer.name: layer for layer in everything.metadata.layers}["transformer.ln_f"]
    assert some.metadata.layers[0].chosen_sq_norm == pytest.approx(whole.chosen_sq_norm)


def test_layers_add_up_to_the_mean_geometry():
    metadata, pairs = typical().metadata, typical().pairs
    for name in ("chosen_sq_norm", "rejected_sq_norm", "inner_product"):
        assert sum(getattr(layer, name) for layer in metadata.layers) == pytest.approx(np.mean(pairs[name].to_numpy()))


def test_real_steps_agree_with_the_forecast():
    for check in run(verify_batches=2, update_batch_size=3, objectives=["dpo", "simpo", "ipo"]).metadata.verification:
        assert check.slope == pytest.approx(1, abs=0.05)
        assert check.correlation > 0.999
        assert check.signs_right == 1.0
        assert check.rounding_floor < 1e-6
        assert len(check.forecast) == len(check.measured) == len(check.ids) == len(check.sides) == 12
        assert np.sqrt(np.mean(np.square(check.forecast))) == pytest.approx(1e-2)


def test_real_steps_of_an_inactive_objective_move_nothing():
    (check,) = run(
        verify_batches=1, objectives=["slic:delta=0.001,lam=0"], rows=[TEXT_ROWS[3]] * 1
    ).metadata.verification
    assert check.slope is None or abs(check.slope) >= 0


def test_half_precision_is_verified_in_float32():
    model = tiny_model(dtype=torch.bfloat16)
    (check,) = run(model, verify_batches=1).metadata.verification
    assert model.dtype == torch.bfloat16
    assert check.slope == pytest.approx(1, abs=0.2)


def test_objectives_may_be_ones_own():
    mine = MarginObjective("mine", m=lambda z: z, h_w=lambda r: r.logp, h_l=lambda r: r.logp, source=dpo().source)
    (summary,) = run(objectives=[mine]).metadata.objectives
    assert (summary.label, summary.negative) == ("mine", 0)


def test_objectives_with_proportional_coefficients_are_named_as_twins():
    found = run(objectives=["dpo", "ipo", "dpop", "simpo", "dpo:beta=1"]).metadata.objectives
    assert [o.same_direction_as for o in found] == [None, "dpo", "dpo", None, "dpo"]


def test_means_are_over_pairs_and_update_batches():
    metadata, rows = typical().metadata, typical().objectives.to_pylist()
    for summary in metadata.objectives:
        own = [r for r in rows if r["objective"] == summary.label]
        assert summary.chosen_change.value == pytest.approx(np.mean([r["batch_chosen_logp_change"] for r in own]))
        assert sum(e.value for e in summary.outcomes.values()) == pytest.approx(1.0)
        margin = summary.chosen_change.value - summary.rejected_change.value
        if summary.chosen_per_margin.value is not None:
            assert summary.chosen_per_margin.value == pytest.approx(summary.chosen_change.value / margin)
            assert summary.chosen_per_margin.value - summary.rejected_per_margin.value == pytest.approx(1.0)


def test_chat_rows_give_pairs_too():
    assert run(rows=chat_rows()).pairs["prompt"].to_pylist()[0] == "user: the sky is"


def test_a_log_prob_that_is_not_finite_is_named_with_its_pair():
    model = tiny_model()
    token = tiny_tokenizer()(" blue")["input_ids"][0]
    with torch.no_grad():
        model.transformer.wte.weight[token] = torch.nan
    with pytest.raises(NumericalError, match="The log-prob of the chosen response of pair `sky` is nan"):
        run(model, rows=TEXT_ROWS[:1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"update_batch_size": 0}, "`update_batch_size` should be at least 1. Found 0"),
        ({"micro_batch": 0}, "`micro_batch` should be at least 1"),
        ({"limit": 0}, "`limit` should be at least 1"),
        ({"verify_batches": -1}, "`verify_batches` should be at least 0"),
        ({"learning_rate": 0.0}, "`learning_rate` should be above 0"),
        ({"learning_rate": 1e300}, "`learning_rate` should be above 0 and at most 1e.100.* Found 1e.300"),
        ({"learning_rate": math.inf}, "`learning_rate` should be above 0"),
        ({"max_length": 1}, "`max_length` should be at least 2 and at most 96, the model's context. Found 1"),
        ({"max_length": 97}, "at most 96"),
        ({"objectives": []}, "No objective was given"),
        ({"objectives": ["dpo", "dpo:beta=0.1"]}, "Objective `dpo` was given twice"),
        ({"reference": tiny_model(vocab_size=300)}, "the reference model knows only 300 tokens"),
        ({"model": tiny_model(vocab_size=300)}, "the model knows only 300 tokens"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        run(**arguments)
