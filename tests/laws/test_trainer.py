"""Our trainer: TRL itself without an objective, and TRL's numbers with those that TRL has too."""

import gc
import math
import weakref

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from trl import DPOTrainer

from preflens.errors import InputError, UnsupportedModelError
from preflens.objectives import dpo, sft
from preflens.objectives.schedule import schedule
from preflens.training import PreferenceTrainer
from preflens.training.probe.trainer_adapter import check_trainer
from tests.cases.language_models import tiny_model
from tests.cases.training import final_state, make_trainer, policy_and_reference
from tests.support.probed_runs import ExactTrainer

# TRL's loss types, and the same in our words.
SAME = {
    "sigmoid": ("dpo", {}),
    "hinge": ("dpo_hinge", {}),
    "ipo": ("ipo_per_token", {}),
    "apo_zero": ("apo_zero", {}),
    "sppo_hard": ("sppo:beta=0.1", {}),
    "aot": ("aot", {}),
    "sft": ("sft", {}),
    "forward_kl": ("dpo@forward_kl", {"f_divergence_type": "forward_kl"}),
    "ld": ("dpo@ld:alpha=0.5", {"ld_alpha": 0.5}),
    "wpo": ("dpo@wpo", {"use_weighting": True}),
    "sum": ("dpo+0.2*sft", {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]}),
}
SHARED = (
    "loss",
    "grad_norm",
    "logps/chosen",
    "logps/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "rewards/chosen",
)
METRICS = (
    *SHARED,
    "entropy",
    "logits/chosen",
    "logits/rejected",
    "mean_token_accuracy",
    "num_tokens",
    "rewards/rejected",
)


def logs(trainer):
    trainer.train()
    return [log for log in trainer.state.log_history if "loss" in log]


def assert_same_logs(found, expected, names, *, rtol=2e-5):
    for ours, theirs in zip(found, expected, strict=True):
        for name in names:
            assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=rtol, abs=1e-6), name


@pytest.mark.parametrize("changes", [{}, {"lora": True}, {"gradient_accumulation_steps": 2}], ids=str)
def test_without_an_objective_it_is_trl_to_the_last_bit(changes, tmp_path):
    runs = []
    for kind in (PreferenceTrainer, DPOTrainer):
        trainer = make_trainer(tmp_path / kind.__name__, trainer=kind, max_steps=20, **changes)
        trainer.train()
        runs.append(final_state(trainer))
    (tensors, losses), (others, other_losses) = runs
    assert losses == other_losses
    assert all(torch.equal(a, b) for a, b in zip(tensors, others, strict=True))


@pytest.mark.parametrize("name", SAME)
def test_objectives_that_trl_has_train_like_trl(name, tmp_path):
    objective, changes = SAME[name]
    theirs = {"loss_type": [name] if name not in {"forward_kl", "ld", "wpo", "sum"} else ["sigmoid"]} | changes
    ours = {"use_weighting": True} if name == "wpo" else {}
    if name == "sum":
        theirs = changes
    found = logs(make_trainer(tmp_path / "a", trainer=PreferenceTrainer, objective=objective, **ours))
    expected = logs(make_trainer(tmp_path / "b", **theirs))
    assert_same_logs(found, expected, METRICS)


@pytest.mark.parametrize(
    "changes",
    [
        {"lora": True},
        {"precompute_ref_log_probs": True},
        {"gradient_accumulation_steps": 2},
        {"gradient_checkpointing": False},
        {"gradient_checkpointing_kwargs": {"use_reentrant": True}},
        {"bf16": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("replace_head", [True, False])
def test_dpo_trains_like_trl_in_every_setting(changes, replace_head, tmp_path):
    own = {"objective": "dpo", "replace_head": replace_head}
    found = logs(make_trainer(tmp_path / "a", trainer=PreferenceTrainer, **own, **changes))
    expected = logs(make_trainer(tmp_path / "b", **changes))
    rough = changes.get("bf16", False)
    names = [name for name in METRICS if not (rough and name.startswith("logits"))]  # means of thousands of roundings
    assert_same_logs(found, expected, names, rtol=5e-2 if rough else 2e-5)


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "granite", "opt"])
def test_heads_of_other_kinds_of_models_are_replaced_exactly(kind, tmp_path):
    runs = []
    for trainer, own in ((PreferenceTrainer, {"objective": "dpo", "geometry_every": 1}), (DPOTrainer, {})):
        model, reference = policy_and_reference(kind=kind)
        runs.append(
            logs(make_trainer(tmp_path / trainer.__name__, trainer=trainer, model=model, reference=reference, **own))
        )
    assert_same_logs(*runs, METRICS, rtol=1e-4)


def test_evaluation_and_resume_work_as_in_trl(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    whole = make_trainer(tmp_path / "a", trainer=PreferenceTrainer, objective="dpo", **saving)
    whole.train()
    evaluations = [log for log in whole.state.log_history if "eval_loss" in log]
    assert len(evaluations) == 2
    assert all(math.isfinite(log["eval_rewards/margins"]) for log in evaluations)
    again = make_trainer(tmp_path / "a", trainer=PreferenceTrainer, objective="dpo", **saving)
    again.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-2"))
    assert all(torch.equal(a, b) for a, b in zip(final_state(whole)[0], final_state(again)[0], strict=True))


@pytest.mark.parametrize("changes", [{}, {"lora": True}, {"gradient_checkpointing": False}], ids=str)
def test_geometry_is_read_off_the_backward_pass_and_does_not_change_it(changes, tmp_path):
    with_geometry = make_trainer(
        tmp_path / "a", trainer=ExactTrainer, objective="dpo", geometry_every=1, max_steps=2, **changes
    )
    found = logs(with_geometry)
    without = logs(make_trainer(tmp_path / "b", trainer=PreferenceTrainer, objective="dpo", max_steps=2, **changes))
    assert_same_logs(found, without, METRICS, rtol=1e-5)
    exact = with_geometry.exact
    assert found[-1]["preflens/cosine"] == pytest.approx(float(exact.cosine.mean()), abs=2e-5)
    ratio = (exact.inner_product / exact.chosen_sq_norm).mean()
    assert found[-1]["preflens/ratio_chosen"] == pytest.approx(float(ratio), rel=1e-3, abs=1e-5)


def test_an_inactive_hinge_falls_back_to_a_pass_of_its_own(tmp_path):
    trainer = make_trainer(
        tmp_path,
        trainer=ExactTrainer,
        objective="dpo_hinge:beta=100",
        geometry_every=1,
        max_steps=3,
        learning_rate=1e-2,
    )
    found = logs(trainer)
    assert found[-1]["preflens/cosine"] == pytest.approx(float(trainer.exact.cosine.mean()), abs=2e-5)


def test_objectives_that_weigh_tokens_train_but_have_no_geometry(tmp_path):
    found = logs(make_trainer(tmp_path, trainer=PreferenceTrainer, objective="dpo@ld:alpha=0.5", geometry_every=1))
    assert all("preflens/cosine" not in log for log in found)


@pytest.mark.parametrize("objective", ["simpo", "cpo", "slic", "rrhf", "orpo", "kto", "dpop"])
def test_objectives_that_trl_does_not_have_train(objective, tmp_path):
    found = logs(
        make_trainer(tmp_path, trainer=PreferenceTrainer, objective=objective, max_steps=8, learning_rate=3e-3)
    )
    assert all(math.isfinite(float(log["loss"])) for log in found)
    assert float(found[-1]["rewards/margins"]) > float(found[0]["rewards/margins"])


@pytest.mark.parametrize("scores", [1, 2000])
def test_a_head_in_many_parts_is_the_head_in_one(scores, tmp_path, monkeypatch):
    whole = logs(make_trainer(tmp_path / "a", trainer=PreferenceTrainer, objective="dpo", geometry_every=1))
    monkeypatch.setattr("preflens.training.scored_head.SCORES", scores)
    monkeypatch.setattr("preflens.gram.factors.scored_rows.SCORES", scores)
    parts = logs(make_trainer(tmp_path / "b", trainer=PreferenceTrainer, objective="dpo", geometry_every=1))
    assert_same_logs(parts, whole, [*METRICS, "preflens/cosine"], rtol=1e-4)


def test_parts_under_autocast_are_differentiated_as_they_were_scored(tmp_path, monkeypatch):
    whole = logs(make_trainer(tmp_path / "a", trainer=PreferenceTrainer, objective="dpo", bf16=True))
    monkeypatch.setattr("preflens.training.scored_head.SCORES", 1)
    parts = logs(make_trainer(tmp_path / "b", trainer=PreferenceTrainer, objective="dpo", bf16=True))
    assert_same_logs(parts, whole, ["loss", "grad_norm"], rtol=1e-2)


def test_prediction_hands_out_logits_as_trl_does(tmp_path):
    found = make_trainer(tmp_path, trainer=PreferenceTrainer, objective="dpo")
    assert found.predict(found.eval_dataset).predictions.shape[-1] == 320


def test_nothing_of_a_batch_outlives_its_head(tmp_path, monkeypatch):
    from preflens.training import fused_head

    made, real = [], fused_head.ResponseRowsFunction

    def noted(*arguments):
        one = real(*arguments)
        made.append(weakref.ref(one))
        return one

    monkeypatch.setattr(fused_head, "ResponseRowsFunction", noted)
    gc.disable()
    try:
        logs(make_trainer(tmp_path, trainer=PreferenceTrainer, objective="dpo", max_steps=2))
        assert len(made) == 4  # policy and reference of two steps
        assert all(one() is None for one in made)
    finally:
        gc.enable()


def test_prompt_learning_is_refused_by_the_replaced_head_and_the_probe(tmp_path):
    config = PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    model = get_peft_model(tiny_model("llama", dtype=torch.float32), config)
    trainer = make_trainer(tmp_path, trainer=PreferenceTrainer, objective="dpo", model=model)
    with pytest.raises(UnsupportedModelError, match="replace_head=False"):
        trainer.train()
    with pytest.raises(UnsupportedModelError, match="prompt learning"):
        check_trainer(trainer)


def test_a_schedule_changes_the_loss_at_its_step(tmp_path):
    switched = logs(make_trainer(tmp_path / "a", trainer=PreferenceTrainer, objective="sft -> dpo @ 2"))
    alone = logs(make_trainer(tmp_path / "b", trainer=PreferenceTrainer, objective="sft"))
    assert [float(a["loss"]) == float(b["loss"]) for a, b in zip(switched, alone, strict=True)] == [
        True,
        True,
        False,
        False,
    ]


def test_a_ramp_mixes_by_step():
    ramp = schedule("sft => dpo @ 4")
    assert ramp.at(0).name == "sft"
    assert [weight for weight, _ in ramp.at(1).terms] == [0.75, 0.25]
    assert ramp.at(4).name == "dpo"
    assert schedule([(0, sft()), (3, dpo())]).at(3).name == "dpo"


@pytest.mark.parametrize(
    "stages",
    ["sft -> dpo", "sft @ 3", "sft -> dpo @ x", "sft -> dpo @ 2 => ipo @ 4", [(1, "dpo")], [(0, "sft"), (0, "dpo")]],
    ids=str,
)
def test_bad_schedules_are_refused(stages):
    with pytest.raises(InputError):
        schedule(stages)
