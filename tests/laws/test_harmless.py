"""Whatever goes wrong in the probe, the run is the run without it, to the last bit, and is told of it."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForCausalLM, TrainerCallback
from transformers.models.llama.modeling_llama import LlamaMLP

from preflens.errors import UnsupportedModelError
from preflens.training import PreferenceTrainer
from preflens.training.probe.alerts import Alerts
from preflens.training.probe.callback import PreflensCallback
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.training import final_state, in_the_old_layout, make_trainer, policy_and_reference, rows
from tests.support.probed_runs import CaptureNoting

OFF = "The probe is off for the rest of this run"


class Noting(TrainerCallback):
    """Notes what a run consists of at every event after the probe has heard of it."""

    def __init__(self):
        self.seen = []

    def note(self, *_, **given):
        model = given["model"]
        parameters = list(model.parameters())
        grads = [None if p.grad is None else float(p.grad.double().sum()) for p in parameters]
        modes = [m.training for m in model.modules()]
        # Not those of Python: the checks of annotations in tests draw from them.
        draws = torch.get_rng_state().sum().item(), np.random.get_state()[1].sum()
        self.seen.append((grads, modes, [p.requires_grad for p in parameters], draws))

    on_step_begin = on_substep_end = on_pre_optimizer_step = on_optimizer_step = on_step_end = note


def hooks(model):
    places = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(m, place)) for m in model.modules() for place in places)


def run(folder, probe=None, **changes):
    noting = Noting()
    settings = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 1, "max_steps": 3} | changes
    trainer = make_trainer(folder, callbacks=[*([probe] if probe else []), noting], **settings)
    trainer.train()
    assert trainer.state.global_step == settings["max_steps"]
    tensors, losses = final_state(trainer)
    return SimpleNamespace(
        tensors=tensors, losses=losses, seen=noting.seen, hooks=hooks(trainer.model), trainer=trainer
    )


def assert_same(found, expected):
    assert found.losses == expected.losses
    assert all(torch.equal(a, b) for a, b in zip(found.tensors, expected.tensors, strict=True))
    assert found.seen == expected.seen
    assert found.hooks == expected.hooks


def probe(**changes):
    return PreflensCallback(**({"every": 1, "max_overhead": None, "probe_pairs": 3, "alerts": Alerts()} | changes))


def broken(monkeypatch, place, error, *, call=1, when=lambda *_: True):
    """Let a function or method of the package raise at one of its calls."""
    where, _, name = place.rpartition(".")
    try:
        owner = import_module(where)
    except ModuleNotFoundError:
        module, _, kind = where.rpartition(".")
        owner = getattr(import_module(module), kind)
    original, calls = getattr(owner, name), []

    def raising(*args, **kwargs):
        if when(*args):
            calls.append(place)
            if len(calls) == call:
                raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, raising)
    return calls


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return run(tmp_path_factory.mktemp("plain"))


# Every stage of the probe, and at which of its calls it fails.
STAGES = {
    "start: the trainer": ("preflens.training.probe.callback.check_trainer", 1),
    "start: held-out pairs": ("preflens.training.probe.callback.held_out_pairs", 1),
    "start: the model's head": ("preflens.analysis.measurement.forward_passes.plain_head", 1),
    "start: memory": ("preflens.training.probe.evaluator.limit_for", 1),
    "start: the reference": ("preflens.training.probe.held_out_reference.collate", 2),
    "start: rows": ("preflens.training.probe.callback.number_rows", 1),
    "start: the file": ("preflens.training.probe.table.ProbeTable.set_aside_after", 1),
    "capture": ("preflens.training.probe.step_probe.StepProbe.begin", 2),
    "capture: rehearsal": ("preflens.training.probe.rehearsal.find_owners", 1),
    "capture: hooks": ("preflens.training.probe.capture.observe_passively", 1),
    "capture: the second micro-batch": ("preflens.training.probe.capture.observe_passively", 2),
    "capture: owners": ("preflens.gram.training_step.passive.find_owners", 3),
    "forward: the batch": ("preflens.training.probe.capture.MicroBatch", 1),
    "forward: the second batch": ("preflens.training.probe.capture.MicroBatch", 2),
    "forward: rows": ("preflens.gram.training_step.passive.PassiveObserver.expect", 1),
    "forward: the head": ("preflens.training.probe.capture.BatchCapture._head_input", 3),
    "forward: the bystander": ("preflens.gram.training_step.passive.PassiveObserver.on_forward", 1),
    "backward: arrival": ("preflens.gram.training_step.passive.PassiveObserver.on_coefficients", 2),
    "backward: what the loss sends": ("preflens.training.probe.micro_batch.MicroBatch.response_coefficients", 1),
    "after the backward pass": ("preflens.gram.readers.stored_gradients.PerResponseGradients.score_head_with", 2),
    "before: the optimizer": ("preflens.training.probe.step_probe.OptimizerPreview", 1),
    "before: the update, midway": ("preflens.training.probe.optimizer_preview.OptimizerPreview._step_on_copy", 5),
    "before: a comparison": ("preflens.training.probe.evaluator.PairEvaluator.confirms_capture", 1),
    "before: passes": ("preflens.training.probe.evaluator.per_response_gradients", 1),
    "before: a rule, midway": ("preflens.gram.readers.collector.Collector.receive", 9),
    "before: the audit": ("preflens.gram.readers.placement.audit", 1),
    "before: products": ("preflens.training.probe.forecasts.changes_along_updates", 2),
    "before: coefficients": ("preflens.training.probe.step_probe.step_coefficients", 1),
    "before: held-out coefficients": ("preflens.training.probe.held_out_coefficients.HeldOutLoss.__call__", 2),
    "after: what was made": ("preflens.training.probe.optimizer_preview.OptimizerPreview.matches_update", 1),
    "after: a score": ("preflens.training.probe.evaluator.ForwardOutput", 3),
    "after: rounding": ("torch.Tensor.bernoulli_", 1),
    "record: packing": ("preflens.training.probe.callback.pack_results", 1),
    "record: unpacking": ("preflens.training.probe.callback.merge_packed", 1),
    "record: metrics": ("preflens.training.probe.recorder.result_metrics", 2),
    "record: a full disk": ("preflens.training.probe.table.write_atomically", 2),
    "record: alerts": ("preflens.training.probe.alerts.Alerts.check", 1),
    "record: sending alerts": ("preflens.training.probe.callback.send_alerts", 1),
    "the schedule": ("preflens.training.probe.recorder.calibration_metrics", 1),
}  # fmt: skip
ERRORS = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("in the model's own code\nand a second line"),
    OSError(28, "No space left on device"),
    KeyError("nothing of that name"),
    UnsupportedModelError("A model of a kind that nobody knows."),
)  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_a_failure_at_any_stage_costs_the_probe_and_not_a_bit_of_the_run(stage, plain, monkeypatch, tmp_path, caplog):
    place, call = STAGES[stage]
    error = ERRORS[list(STAGES).index(stage) % len(ERRORS)]
    # A rule that fails in the step's own backward pass is no reason to give up.
    ours = lambda *args: "a rule" not in stage or not args[1].module.training  # noqa: E731
    calls = broken(monkeypatch, place, error, call=call, when=ours)
    assert_same(run(tmp_path, probe()), plain)
    assert len(calls) >= call
    if stage == "capture: rehearsal":  # then the probe makes passes of its own
        assert OFF not in caplog.text
    else:
        assert caplog.text.count(OFF) == 1


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("call", [1, 2, 7])
def test_a_failure_of_the_model_inside_a_pass_of_ours_costs_no_bit_of_the_run(
    grad, call, plain, monkeypatch, tmp_path, caplog
):
    """The model fails in evaluation mode, which only the probe uses here, with and without gradients."""
    place = "transformers.models.llama.modeling_llama.LlamaMLP.forward"
    ours = lambda module, *_: not module.training and torch.is_grad_enabled() == grad  # noqa: E731
    calls = broken(monkeypatch, place, torch.OutOfMemoryError("out of memory"), call=call, when=ours)
    assert_same(run(tmp_path, probe()), plain)
    assert len(calls) >= call
    assert caplog.text.count(OFF) == 1
    assert "Memory was not enough" in caplog.text


def test_a_failure_of_a_pass_in_full_precision_leaves_the_run_its_autocast(monkeypatch, tmp_path, caplog):
    expected = run(tmp_path / "b", bf16=True)
    # So that `forward` itself is changed.
    monkeypatch.setattr("preflens.analysis.measurement.forward_passes.plain_head", lambda *_: None)
    place = "transformers.models.llama.modeling_llama.LlamaMLP.forward"
    finely = lambda module, *_: not module.training and not torch.is_autocast_enabled("cpu")  # noqa: E731
    calls = broken(monkeypatch, place, MemoryError(), call=4, when=finely)
    found = run(tmp_path / "a", probe(), bf16=True)
    assert_same(found, expected)
    assert len(calls) >= 4
    assert caplog.text.count(OFF) == 1
    assert vars(found.trainer.model)["forward"] is not vars(found.trainer.model)["_original_forward"]


@pytest.mark.parametrize("memory", [1.0, 10_000.0])
def test_what_memory_does_not_allow_to_keep_beside_a_step_gets_a_pass_of_its_own(memory, plain, tmp_path):
    kept = []

    class Keeping(CaptureNoting):
        def on_pre_optimizer_step(self, *args, **kwargs):
            super().on_pre_optimizer_step(*args, **kwargs)
            kept.extend(batch.gradients for batch in self.micro_batches)

    found = run(tmp_path, Keeping(every=1, max_overhead=None, probe_pairs=3, memory=memory))
    assert_same(found, plain)
    assert kept == [None] * 6
    assert sum("preflens/measured_chosen" in log for log in found.trainer.state.log_history) == 3


@pytest.mark.parametrize("place", ["preflens.gram.capture.taps._tapped", "preflens.gram.capture.taps._flat"])
@pytest.mark.parametrize("call", [1, 9])
def test_a_tap_that_fails_in_the_forward_pass_of_a_step_is_left_out(place, call, monkeypatch, tmp_path):
    changes = {"gradient_checkpointing": False}
    expected = run(tmp_path / "b", **changes)
    in_training = lambda *args: not isinstance(args[0], torch.nn.Module) or args[0].training  # noqa: E731
    calls = broken(monkeypatch, place, MemoryError(), call=call + 30, when=in_training)  # thirty in the rehearsal
    assert_same(run(tmp_path / "a", probe(), **changes), expected)
    assert len(calls) >= call


@pytest.mark.parametrize(
    "place",
    [
        "preflens.gram.readers.collector.Collector.receive",
        "preflens.gram.readers.stored_gradients.PerResponseGradients.on_module",
    ],
)
def test_what_the_observer_cannot_follow_in_a_backward_pass_gets_a_pass_of_its_own(
    place, plain, monkeypatch, tmp_path, caplog
):
    calls = broken(monkeypatch, place, MemoryError(), call=3)
    found = run(tmp_path, probe())
    assert_same(found, plain)
    assert len(calls) >= 3
    assert OFF not in caplog.text
    assert sum("preflens/measured_chosen" in log for log in found.trainer.state.log_history) == 3


def test_the_user_may_still_interrupt(monkeypatch, tmp_path):
    broken(monkeypatch, "preflens.training.probe.evaluator.PairEvaluator.predict", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, probe())


class InPlace(LlamaMLP):
    """Changes what the norm before it returned, which autograd allows to a model that nobody taps."""

    def forward(self, x):
        return super().forward(x.mul_(1.5))


@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_model_that_changes_its_activations_in_place_trains_as_without_the_probe(checkpointing, tmp_path):
    found = []
    for callback in (probe(), None):
        model, reference = policy_and_reference()
        for layer in (*model.model.layers, *reference.model.layers):
            layer.mlp.__class__ = InPlace
        changes = {"model": model, "reference": reference, "gradient_checkpointing": checkpointing}
        found.append(run(tmp_path / str(callback is None), callback, **changes))
    assert_same(*found)


ODD = {
    "falcon": {"num_hidden_layers": 2, "parallel_attn": True, "bias": False},
    "jetmoe": {"num_hidden_layers": 2, "num_key_value_heads": 2, "kv_channels": 8, "intermediate_size": 24,
               "num_local_experts": 3, "num_experts_per_tok": 2},
    "recurrent_gemma": {"num_hidden_layers": 3, "num_key_value_heads": 1, "intermediate_size": 48, "lru_width": 16,
                        "attention_window_size": 64},
}  # fmt: skip


def odd_model(kind):
    shape = {"hidden_size": 16, "num_attention_heads": 2, "vocab_size": 320, "pad_token_id": 0} | ODD[kind]
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape))


@pytest.mark.parametrize("kind", ODD)
def test_odd_families_train_as_without_the_probe(kind, tmp_path):
    found = []
    for callback in (probe(), None):
        changes = {"model": odd_model(kind), "reference": odd_model(kind), "gradient_checkpointing": False}
        found.append(run(tmp_path / str(callback is None), callback, **changes))
    assert_same(*found)


def test_half_precision_weights_under_autocast_train_as_without_the_probe(tmp_path):
    found = []
    for callback in (probe(), None):
        model, reference = (tiny_model("llama", dtype=torch.float16) for _ in range(2))
        changes = {"model": model, "reference": reference, "bf16": True, "learning_rate": 1e-5}
        found.append(run(tmp_path / str(callback is None), callback, **changes))
    assert_same(*found)


def test_a_processor_without_a_padding_token_has_a_tokenizer_that_has_one(tmp_path):
    trainer = make_trainer(tmp_path, callbacks=[probe()], max_steps=1)
    trainer.processing_class = SimpleNamespace(tokenizer=trainer.processing_class)
    trainer.train()
    assert "preflens/probe_measured_chosen" in trainer.state.log_history[0]


@pytest.mark.parametrize("strict", [False, True])
def test_a_run_that_cannot_be_watched_is_trained_unless_asked_otherwise(strict, plain, tmp_path, caplog):
    callback = probe(probe_pairs=[{"prompt": "a row without responses"}], strict=strict)
    if strict:
        with pytest.raises(Exception, match="column `chosen`"):
            run(tmp_path, callback)
        assert OFF not in caplog.text
    else:
        assert_same(run(tmp_path, callback), plain)
        assert OFF in caplog.text
        assert "column `chosen`" in caplog.text


def test_a_probe_that_was_off_watches_the_next_run(monkeypatch, tmp_path):
    callback = probe()
    with monkeypatch.context() as patch:
        broken(patch, "preflens.training.probe.evaluator.PairEvaluator.predict", ValueError())
        run(tmp_path / "a", callback)
    found = run(tmp_path / "b", callback)
    assert "preflens/measured_chosen" in found.trainer.state.log_history[0]


@pytest.fixture(scope="module")
def experimental():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
        from trl.experimental.cpo import CPOConfig, CPOTrainer
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer
    return {"CPO": (CPOTrainer, CPOConfig), "ORPO": (ORPOTrainer, ORPOConfig)}


OTHERS = {
    "simpo": ("CPO", {"loss_type": "simpo", "beta": 2.5, "simpo_gamma": 1.0, "cpo_alpha": 0.5},
              "simpo:beta=2.5,gamma=1+0.5*sft"),
    "alphapo": ("CPO", {"loss_type": "simpo", "beta": 2, "alpha": 0.25, "cpo_alpha": 0},
                "alphapo:beta=2,gamma=0.5,alpha=0.25"),
    "cpo": ("CPO", {"beta": 0.3}, "cpo:beta=0.3,lam=0+1*sft"),
    "orpo": ("ORPO", {"beta": 0.2}, "orpo:lam=0.2"),
    "ipo": ("CPO", {"loss_type": "ipo"}, "…"),
}  # fmt: skip


def other_trainer(folder, experimental, name, **own):
    kind, fields, _ = OTHERS[name]
    trainer, config = experimental[kind]
    settings = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True, "save_strategy": "no"}
    return trainer(
        model=policy_and_reference()[0], processing_class=tiny_tokenizer(), train_dataset=Dataset.from_list(rows()),
        args=config(output_dir=str(folder), max_steps=2, learning_rate=1e-3, **settings, **fields), **own,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", OTHERS)
def test_other_trainers_of_trl_train_on_and_hear_of_ours(name, experimental, tmp_path, caplog):
    text = OTHERS[name][2]
    watched = other_trainer(tmp_path / "a", experimental, name, callbacks=[probe()])
    alone = other_trainer(tmp_path / "b", experimental, name)
    for trainer in (watched, alone):
        trainer.train()
    weights = (list(trainer.model.parameters()) for trainer in (watched, alone))
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    assert caplog.text.count(OFF) == 1
    assert f"PreferenceTrainer(objective={text})" in caplog.text.replace("'", "")
    with pytest.raises(UnsupportedModelError, match="PreferenceTrainer"):
        other_trainer(tmp_path / "c", experimental, name, callbacks=[probe(strict=True)]).train()


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", ["simpo", "alphapo", "cpo"])
def test_the_objective_that_another_trainer_hears_of_has_its_loss(name, experimental, tmp_path):
    theirs = other_trainer(tmp_path / "a", experimental, name)
    ours = make_trainer(
        tmp_path / "b", trainer=PreferenceTrainer, objective=OTHERS[name][2], per_device_train_batch_size=8, max_steps=1
    )
    loss, _ = theirs.get_batch_loss_metrics(theirs.model, in_the_old_layout(ours))
    ours.train()
    assert float(ours.state.log_history[0]["loss"]) == pytest.approx(loss.item(), rel=2e-5)
