"""A stand-in for a trainer, for code that uses few of its attributes."""

from collections import defaultdict
from types import SimpleNamespace

import torch


class StubAccelerator:
    """One process, and a model without wrappers."""

    device = torch.device("cpu")
    num_processes = 1
    optimizer_step_was_skipped = False

    def unwrap_model(self, model):
        return model

    def gather(self, values):
        return values

    gather_for_metrics = gather


class StubTrainer:
    """Has every name of the protocols; those that are not given are None."""

    def __init__(self, **attributes):
        self.accelerator = StubAccelerator()
        self.state = SimpleNamespace(global_step=0, logging_steps=1)
        self._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
        self._total_train_tokens, self._tp_size = 0, 1
        self.__dict__ |= attributes

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

    def _not_given(self, *_, **__):
        raise NotImplementedError

    own_pass = logps_of = compute_loss_context_manager = compute_ref_log_probs = _not_given

    def add_callback(self, _):
        """Callbacks are not called."""

    def logged(self, split="train"):
        return dict(self._metrics[split])
