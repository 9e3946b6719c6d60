"""The first step of a run: does a gradient reach every parameter that steps?"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from preflens.gram.capture.plain_forward import running_modules
from preflens.gram.capture.unreached import check_reached
from preflens.language_models.batch import PairBatch


def check_first_step(trainer: Any, step: Callable[[], Tensor], batch: Callable[[], PairBatch]) -> Tensor:  # noqa: ANN401  # it imports us
    """Run a micro-batch; refuse parameters on which the log-probs depend though nothing is written to their `.grad`.

    Args:
        trainer: a `PreferenceTrainer`; under FSDP and DeepSpeed, where no process holds whole gradients, not looked at.
        step: the micro-batch's forward and backward pass.
        batch: gives its pairs.

    Returns:
        The loss.
    """
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return step()
    model = trainer.accelerator.unwrap_model(trainer.model)
    with running_modules(model) as ran:
        loss = step()
    names = {p: name for name, p in model.named_parameters() if p.requires_grad}
    silent = {p for m in ran for p in m.parameters(recurse=False) if p in names and p.grad is None}
    if silent:
        with trainer.compute_loss_context_manager():
            check_reached(silent, names, partial(trainer.own_pass, batch()))
    return loss
