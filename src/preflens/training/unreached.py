"""Check on the first step of a run that every trainable parameter gets a gradient."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from preflens.gram.capture.plain_forward import running_modules
from preflens.gram.capture.unreached import check_reached
from preflens.language_models.batch import PairBatch
from preflens.training.trainer_protocol import ObjectiveTrainerLike, unwrapped_model


def check_first_step(
    trainer: ObjectiveTrainerLike, step: Callable[[], Tensor], batch: Callable[[], PairBatch]
) -> Tensor:
    """Run a micro-batch; refuse parameters that the log-probs depend on, but whose `.grad` stays empty.

    Args:
        trainer: a `PreferenceTrainer`. Under FSDP and DeepSpeed, where no process holds complete gradients, nothing is
            checked.
        step: the micro-batch's forward and backward pass.
        batch: makes its pairs; called only where a parameter got no gradient.

    Returns:
        The loss.
    """
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return step()
    model = unwrapped_model(trainer)
    with running_modules(model) as called:
        loss = step()
    names = {p: name for name, p in model.named_parameters() if p.requires_grad}
    without_gradient = {p for m in called for p in m.parameters(recurse=False) if p in names and p.grad is None}
    if without_gradient:
        with trainer.compute_loss_context_manager():
            check_reached(without_gradient, names, partial(trainer.own_pass, batch()))
    return loss
