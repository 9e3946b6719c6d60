"""Log the measured share of responses that moved in the intended direction after a mitigated step.

A mitigation guarantees directions for plain gradient steps only, so under other optimizers they have to be measured.
"""

import torch
from torch import Tensor
from transformers import TrainerCallback

from preflens.training.trainer_protocol import ObjectiveTrainerLike, log_metric


class EffectLogger(TrainerCallback):
    """Scores the last micro-batch again after each step that is logged, and logs two shares.

    `mitigation/chosen_rose` is the share of chosen responses whose log-prob rose, `mitigation/rejected_fell` that of
    rejected responses whose log-prob fell.

    Args:
        trainer: a `PreferenceTrainer`.
    """

    def __init__(self, trainer: ObjectiveTrainerLike) -> None:
        self._trainer = trainer
        self._before: tuple[dict[str, Tensor], Tensor] | None = None

    @property
    def is_due(self) -> bool:
        """Whether the step in progress is logged."""
        every = int(self._trainer.state.logging_steps or 0)
        return every > 0 and (self._trainer.state.global_step + 1) % every == 0

    def note(self, inputs: dict[str, Tensor], logps: Tensor) -> None:
        """Keep a micro-batch and its log-probs before the step, chosen responses first, nats."""
        self._before = (inputs, logps.detach())

    def on_step_end(self, *_: object, **__: object) -> None:
        """Score the responses again, compare, and log."""
        if self._before is None:
            return
        (inputs, before), self._before = self._before, None
        with torch.no_grad():
            chosen, rejected = (self._trainer.logps_of(inputs) - before).chunk(2)
        log_metric(self._trainer, "mitigation/chosen_rose", float((chosen > 0).double().mean()))
        log_metric(self._trainer, "mitigation/rejected_fell", float((rejected < 0).double().mean()))
