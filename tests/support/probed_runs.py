"""Training runs with the probe, and callbacks that note what is true at each step."""

import torch

from preflens.gram.brute_force import brute_force_batch_gram
from preflens.language_models.batch import PairBatch
from preflens.language_models.logps import response_logps
from preflens.training import PreferenceTrainer
from preflens.training.probe.callback import PreflensCallback
from preflens.training.probe.table import ProbeTable
from tests.cases.training import make_trainer, policy_and_reference


def trained(folder, *, probe, **changes):
    """A run of four steps, each of them probed or none."""
    callbacks = [PreflensCallback(every=1, max_overhead=None, probe_pairs=3)] if probe else []
    dropout, kind = changes.pop("attention_dropout", None), changes.pop("kind", None)
    if kind is not None:
        changes["model"], changes["reference"] = policy_and_reference(kind=kind)
    trainer = make_trainer(folder, callbacks=callbacks, **changes)
    if dropout is not None:
        for layer in trainer.model.model.layers:
            layer.self_attn.attention_dropout = dropout
    trainer.train()
    return trainer


def logged(trainer, name):
    return [log[f"preflens/{name}"] for log in trainer.state.log_history if f"preflens/{name}" in log]


def column(table, name):
    return torch.tensor(table[name].to_pylist(), dtype=torch.float64)


class CaptureNoting(PreflensCallback):
    """Notes what the probe captured of a step."""

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.probe = self.step_probe
        self.probe.next_micro_batch()  # the last micro-batch is over too
        self.micro_batches = list(self.probe.capture.micro_batches)
        super().on_pre_optimizer_step(args, state, control, **kwargs)


class ExactNoting(CaptureNoting):
    """Notes the brute-force Gram, the gradient and the weights right before the optimizer's step."""

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        model, self.grams = kwargs["model"], []
        for captured in self.step_probe.capture.micro_batches:
            batch = PairBatch(captured.input_ids, captured.attention_mask, captured.completion_mask)
            self.grams.append(brute_force_batch_gram(model, lambda batch=batch: response_logps(model, batch)))
        self.gradient = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        self.old = [p.detach().clone() for p in model.parameters()]
        super().on_pre_optimizer_step(args, state, control, **kwargs)


def spied(folder, **changes):
    """A run of one probed step: the trainer, what was true before the step, and the table of the probe."""
    spy = ExactNoting(every=1, max_overhead=None, probe_pairs=0, alerts=None)
    trainer = make_trainer(folder, callbacks=[spy], max_steps=1, **changes)
    trainer.train()
    return trainer, spy, ProbeTable(folder / "preflens" / "probe.parquet").read()


class ExactTrainer(PreferenceTrainer):
    """Notes the exact geometry of each micro-batch before the step."""

    def training_step(self, model, inputs, *rest):
        masks = (inputs[k].bool() for k in ("attention_mask", "completion_mask"))
        batch = PairBatch(inputs["input_ids"], *masks)
        self.exact = brute_force_batch_gram(self.model, lambda: response_logps(self.model, batch)).pair_gram()
        return super().training_step(model, inputs, *rest)
