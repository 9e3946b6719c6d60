"""Did the responses of a mitigated step move as they were meant to? Measured, because optimizers promise nothing."""

import torch
from torch import Tensor
from transformers import TrainerCallback

from preflens.training.trainer_protocol import ObjectiveTrainerLike, log_metric


class EffectLogger(TrainerCallback):
    """Looks at the last micro-batch again after a step that is logged, and logs the shares that moved as intended.

    Args:
        trainer: a `PreferenceTrainer`.
    """

    def __init__(self, trainer: ObjectiveTrainerLike) -> None:
        self._trainer = trainer
        self._seen: tuple[dict[str, Tensor], Tensor] | None = None

    @property
    def wanted(self) -> bool:
        """Whether the step under way is one that is looked at."""
        every = int(self._trainer.state.logging_steps or 0)
        return every > 0 and (self._trainer.state.global_step + 1) % every == 0

    def note(self, inputs: dict[str, Tensor], logps: Tensor) -> None:
        """Remember a micro-batch and its log-probs before the step, chosen ones first."""
        self._seen = (inputs, logps.detach())

    def on_step_end(self, *_: object, **__: object) -> None:
        """Compare."""
        if self._seen is None:
            return
        (inputs, before), self._seen = self._seen, None
        with torch.no_grad():
            chosen, rejected = (self._trainer.logps_of(inputs) - before).chunk(2)
        log_metric(self._trainer, "mitigation/chosen_rose", float((chosen > 0).double().mean()))
        log_metric(self._trainer, "mitigation/rejected_fell", float((rejected < 0).double().mean()))
