"""Can a training step be tapped? Tried on two short rows, because an exception in the step itself would end the run.

What looks on at a training step puts taps into its graph, and a model may do with their outputs what autograd forbids,
in its own code, where nothing can be caught.
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
    """Call a model as TRL does in training, tapped, forward and backward; it is left as it was.

    Args:
        model: with TRL's fused head.
        autocast: makes the context in which it computes in training.

    Returns:
        Whether that went well.
    """
    try:
        owners = find_owners(model, dropout=True)
        with ExitStack() as stack:
            # Nothing but the taps may collect a gradient here.
            stack.enter_context(frozen(owners.block_of))
            stack.enter_context(same_random_state())
            stack.enter_context(_training(model))
            state = stack.enter_context(taps(owners.recognizers(), lambda _: None, force=True))
            state.rows = 2
            with torch.enable_grad(), autocast():
                total = _two_rows(model)
            state.forward_done = True
            torch.autograd.backward(total)
    except Exception as error:  # of the model's own code, whichever it may be
        LOGGER.info("The probe makes passes of its own, because this model's steps cannot be tapped: %s", error)
        return False
    return True


def _two_rows(model: nn.Module) -> Tensor:
    ids = torch.arange(3, device=next(model.parameters()).device).repeat(2, 1)
    labels = ids.clone()
    labels[:, 0] = -100
    found = model(
        input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, use_cache=False, fused_lm_head=True
    )
    total: Tensor = found.log_probs.sum()
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
