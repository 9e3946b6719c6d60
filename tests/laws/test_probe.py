"""The probe: a probed run is the run without it, and what it writes belongs to the user's rows."""

import pytest
import torch
from datasets import Dataset
from trl import DPOTrainer

from preflens.errors import InputError, UnsupportedModelError
from preflens.training.probe.alerts import Alerts
from preflens.training.probe.callback import PreflensCallback
from preflens.training.probe.micro_batch import pair_id
from preflens.training.probe.table import ProbeTable
from preflens.training.probe.trainer_adapter import calling_trainer, check_trainer
from preflens.training.trainer import PreferenceTrainer
from tests.cases.language_models import tiny_tokenizer
from tests.cases.training import final_state, make_trainer, rows
from tests.support.probed_runs import logged, trained

RUNS = {
    "AdamW": {},
    "SGD": {"optim": "sgd", "learning_rate": 1e-2},
    "LoRA": {"lora": True},
    "LoRA, SGD, accumulation": {"lora": True, "optim": "sgd", "gradient_accumulation_steps": 4},
    "accumulation": {"gradient_accumulation_steps": 4, "per_device_train_batch_size": 1},
    "dropout": {"disable_dropout": False, "attention_dropout": 0.3},
    "no checkpointing": {"gradient_checkpointing": False},
    "reentrant checkpointing": {"gradient_checkpointing_kwargs": {"use_reentrant": True}},
    "precomputed reference": {"precompute_ref_log_probs": True},
    "two losses": {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.1]},
    "bf16": {"bf16": True},
    "one row of positions": {"kind": "gpt2", "gradient_accumulation_steps": 2},
    "positions with an offset": {"kind": "opt"},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_probed_run_is_the_same_run_to_the_last_bit(name, tmp_path):
    with_probe, without = (trained(tmp_path / str(probe), probe=probe, **RUNS[name]) for probe in (True, False))
    assert len(logged(with_probe, "measured_chosen")) == 4
    (tensors, losses), (others, other_losses) = final_state(with_probe), final_state(without)
    assert losses == other_losses
    assert all(torch.equal(a, b) for a, b in zip(tensors, others, strict=True))


def test_a_resumed_run_with_the_probe_is_the_uninterrupted_run_without(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 2}
    whole = trained(tmp_path / "whole", probe=False, **saving)
    trained(tmp_path / "cut", probe=True, **saving)
    again = make_trainer(
        tmp_path / "cut", callbacks=[PreflensCallback(every=1, max_overhead=None, probe_pairs=3)], **saving
    )
    again.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-2"))
    assert all(torch.equal(a, b) for a, b in zip(final_state(again)[0], final_state(whole)[0], strict=True))
    steps = ProbeTable(tmp_path / "cut" / "preflens" / "probe.parquet").read()["step"].to_pylist()
    assert sorted(set(steps)) == [1, 2, 3, 4]
    assert steps_in(tmp_path / "cut" / "preflens" / "probe.earlier-1.parquet") == [3, 4]


def steps_in(folder):
    return sorted(set(ProbeTable(folder).read()["step"].to_pylist()))


def test_rows_of_an_earlier_run_in_the_same_folder_are_kept(tmp_path, caplog):
    rows = tmp_path / "preflens" / "probe.parquet"
    trained(tmp_path, probe=True)
    first = ProbeTable(rows).read()
    for number in (1, 2):
        trained(tmp_path, probe=True, max_steps=2)
        assert steps_in(rows) == [1, 2]
        assert f"are kept in `{rows.with_name(f'probe.earlier-{number}.parquet')}`" in caplog.text
    assert ProbeTable(rows.with_name("probe.earlier-1.parquet")).read().equals(first)
    assert steps_in(rows.with_name("probe.earlier-2.parquet")) == [1, 2]


@pytest.mark.parametrize("precomputed", [False, True])
def test_rows_are_those_of_the_users_data_though_trl_leaves_some_out(precomputed, tmp_path):
    tokenizer, mine = tiny_tokenizer(), rows()
    mine[0]["prompt"] = mine[3]["prompt"] = "the sky is " * 20  # fills `max_length`, so TRL drops the row
    data = Dataset.from_list(mine)
    if precomputed:  # `datasets` forgets what was dropped; a column tells
        data = data.add_column("source_row", list(range(8)))
    callback = PreflensCallback(every=1, max_overhead=None, probe_pairs=3, alerts=None)
    changes = {"max_length": 40, "per_device_train_batch_size": 6, "max_steps": 1}
    trainer = make_trainer(
        tmp_path, callbacks=[callback], data=data, held_out=data, precompute_ref_log_probs=precomputed, **changes
    )
    trainer.train()
    table = ProbeTable(tmp_path / "preflens" / "probe.parquet").read().to_pylist()
    assert sorted(row["row"] for row in table if row["set"] == "batch") == [1, 2, 4, 5, 6, 7]
    assert [row["row"] for row in table if row["set"] == "probe"] == [1, 2, 4]
    for row in table:
        prompt = tuple(tokenizer(mine[row["row"]]["prompt"])["input_ids"])
        both = [tokenizer(mine[row["row"]]["prompt"] + mine[row["row"]][side] + "</s>")["input_ids"]
                for side in ("chosen", "rejected")]  # fmt: skip
        start = next(k for k in range(len(prompt) + 1) if k == len(prompt) or {b[k] for b in both} != {prompt[k]})
        assert row["id"] == pair_id(prompt[:start], *(tuple(b[start:]) for b in both))


def test_rows_that_cannot_be_known_have_no_number(tmp_path):
    callback = PreflensCallback(every=1, max_overhead=None, probe_pairs=3, alerts=None)
    make_trainer(tmp_path, callbacks=[callback], max_steps=1, precompute_ref_log_probs=True).train()
    assert set(ProbeTable(tmp_path / "preflens" / "probe.parquet").read()["row"].to_pylist()) == {None}


def test_metrics_reach_the_log_as_floats_and_rows_have_ids_that_stay(tmp_path):
    one, other = (trained(tmp_path / n, probe=True, max_steps=2) for n in ("a", "b"))
    for name in ("cosine", "share_intended", "plain_chosen", "optimizer_rejected", "probe_measured_chosen", "overhead"):
        assert all(isinstance(v, float) for v in logged(one, name))
        assert len(logged(one, name)) == 2
    tables = [ProbeTable(tmp_path / n / "preflens" / "probe.parquet").read() for n in ("a", "b")]
    assert tables[0]["id"].to_pylist() == tables[1]["id"].to_pylist()
    assert set(tables[0]["row"].to_pylist()) <= set(range(len(rows())))
    assert other.state.global_step == 2


def test_held_out_pairs_can_be_rows(tmp_path):
    held_out = [{"prompt": "the sea is", "chosen": " blue", "rejected": " no", "id": "mine"}]
    callback = PreflensCallback(every=2, max_overhead=None, probe_pairs=held_out)
    trainer = make_trainer(tmp_path, max_steps=2)
    callback.attach(trainer)
    trainer.train()
    table = ProbeTable(tmp_path / "preflens" / "probe.parquet").read().to_pylist()
    assert [row["id"] for row in table if row["set"] == "probe"] == ["mine"]


def test_alerts_can_stop_a_run(tmp_path, caplog):
    probe = PreflensCallback(
        every=1,
        max_overhead=None,
        probe_pairs=3,
        alerts=Alerts(both_falling=None, chosen_below=-100.0),
        stop_on_alert=True,
    )
    trainer = make_trainer(tmp_path, callbacks=[probe], max_steps=4)
    trainer.train()
    assert trainer.state.global_step == 1
    assert "less likely" in caplog.text


def test_bad_arguments_and_trainers_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="`every`"):
        PreflensCallback(every=0)
    callback = PreflensCallback()
    with pytest.raises(InputError, match="attach"):
        calling_trainer(callback)
    trainer = make_trainer(tmp_path)
    trainer.is_fsdp_enabled = True
    with pytest.raises(UnsupportedModelError, match="fsdp"):
        check_trainer(trainer)
    with pytest.raises(UnsupportedModelError, match="Found a `object`"):
        check_trainer(object())


def test_a_callback_may_watch_one_trainer_after_another(tmp_path):
    callback = PreflensCallback(every=1, max_overhead=None, probe_pairs=3)
    for name in ("a", "b"):
        trainer = make_trainer(tmp_path / name, callbacks=[callback], max_steps=1)
        trainer.train()
        trainer.train()
        assert logged(trainer, "measured_chosen")
        assert ProbeTable(tmp_path / name / "preflens" / "probe.parquet").read().num_rows == 5


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_a_step_that_fails_leaves_no_hook(tmp_path):
    class Failing(DPOTrainer):
        def _compute_loss(self, model, inputs, return_outputs):
            super()._compute_loss(model, inputs, return_outputs)
            raise KeyboardInterrupt

    callback = PreflensCallback(every=1, max_overhead=None, probe_pairs=0)
    watched, alone = (make_trainer(tmp_path, trainer=Failing, callbacks=c) for c in ([callback], []))
    for trainer in (watched, alone):
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    callback.on_train_end(watched.args, watched.state, watched.control)  # what the next run does first
    assert hooks(watched.model) == hooks(alone.model)  # transformers has hooks of its own


def test_what_the_probe_cannot_follow_costs_the_probe_and_not_the_run(tmp_path, caplog):
    class NaNs(DPOTrainer):
        def _compute_loss(self, model, inputs, return_outputs):
            return super()._compute_loss(model, inputs, return_outputs) * float("nan")

    callback = PreflensCallback(every=1, max_overhead=None, probe_pairs=3)
    trainer = make_trainer(tmp_path, trainer=NaNs, callbacks=[callback], max_steps=3)
    trainer.train()
    assert trainer.state.global_step == 3
    assert "off for the rest of this run" in caplog.text


def test_a_run_with_a_budget_keeps_it_and_compares_the_same_pairs(tmp_path):
    callback = PreflensCallback(
        every=1, max_overhead=0.5, probe_pairs=3, alerts=Alerts(both_falling=None, chosen_below=0.5)
    )
    trainer = make_trainer(tmp_path, callbacks=[callback], max_steps=30, optim="sgd", learning_rate=0.0)
    trainer.train()
    assert 0 < len(logged(trainer, "overhead")) < 30


def test_responses_without_a_scored_token_are_left_out(tmp_path):
    empty = [{"prompt": "the sky is", "chosen": "", "rejected": ""}] * 8
    for kind, own in ((DPOTrainer, {}), (PreferenceTrainer, {"objective": "dpo"})):
        callback = PreflensCallback(every=1, max_overhead=None, probe_pairs=0)
        trainer = make_trainer(tmp_path / kind.__name__, trainer=kind, callbacks=[callback], max_steps=1, **own)
        collate = trainer.data_collator

        def without_responses(examples, collate=collate):
            batch = collate(examples)
            batch["completion_mask"].zero_()
            return batch

        trainer.data_collator = without_responses
        trainer.train()
        assert trainer.state.global_step == len(empty) // 8


def test_on_a_mitigated_run_forecasts_hold_and_nothing_is_said_about_the_loss_that_is_not_followed(tmp_path, caplog):
    callback = PreflensCallback(every=1, max_overhead=None, probe_pairs=3)
    own = {"mitigation": "normalized", "objective": "dpo", "callbacks": [callback]}
    changes = {"optim": "sgd", "learning_rate": 1e-3, "max_steps": 2}
    trainer = make_trainer(tmp_path, trainer=PreferenceTrainer, **own, **changes)
    trainer.train()
    assert "other terms" not in caplog.text
    assert not logged(trainer, "share_intended")
    assert not logged(trainer, "probe_share_intended")
    for forecast, measured in zip(logged(trainer, "optimizer_chosen"), logged(trainer, "measured_chosen"), strict=True):
        assert forecast == pytest.approx(measured, rel=0.05)
