"""Try on two short rows whether the modules of a model can be tapped during training.

Capturing gradients in a training step puts taps (autograd functions at module outputs) into its graph. A model may
do with the output of a tap what autograd forbids. That exception would be raised in the model's own code and end the
run, so it is provoked here first.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch import Tensor, nn

from preflens.gram.capture.restoring import frozen, same_random_state
from preflens.gram.capture.taps import taps
from preflens.gram.readers.owner_search import find_owners

LOGGER = logging.getLogger("preflens")


def can_be_tapped(model: nn.Module, autocast: Callable[[], AbstractContextManager[None]]) -> bool:
    """Run a tapped model forward and backward as TRL does in training, and restore it.

    Args:
        model: with TRL's fused head.
        autocast: makes the context in which the model computes as in training.

    Returns:
        Whether that raised no exception.
    """
    try:
        owners = find_owners(model, dropout=True)
        with ExitStack() as stack:
            # Only the taps may receive gradients here.
            stack.enter_context(frozen(owners.block_of))
            stack.enter_context(same_random_state())
            stack.enter_context(_training(model))
            state = stack.enter_context(taps(owners.recognizers(), lambda _: None, force=True))
            state.rows = 2
            with torch.enable_grad(), autocast():
                total = _two_rows(model)
            state.forward_done = True
            torch.autograd.backward(total)
    except Exception as error:  # of the model's own code, so of any kind
        LOGGER.info("The probe runs passes of its own, because this model cannot be tapped in training: %s", error)
        return False
    return True


def _two_rows(model: nn.Module) -> Tensor:
    ids = torch.arange(3, device=next(model.parameters()).device).repeat(2, 1)
    labels = ids.clone()
    labels[:, 0] = -100
    outputs = model(
        input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, use_cache=False, fused_lm_head=True
    )
    total: Tensor = outputs.log_probs.sum()
    return total


@contextmanager
def _training(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    try:
        model.train()
        yield
    finally:
        for module, training in modes.items():
            module.training = training
