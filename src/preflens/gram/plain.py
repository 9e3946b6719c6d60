"""A plain forward pass without gradients: which modules are called in it."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from preflens.gram.outcome import Forward
from preflens.gram.restoring import same_random_state


def called_modules(module: nn.Module, forward: Forward) -> set[nn.Module]:
    """Find out which modules a forward pass calls.

    Args:
        module: the model.
        forward: runs it.

    Returns:
        Those that are called as modules, not by another of their methods.
    """
    with _without_gradients(), running_modules(module) as called:
        forward()
    return called


@contextmanager
def running_modules(module: nn.Module) -> Iterator[set[nn.Module]]:
    """Note which modules are called.

    Args:
        module: the model.

    Yields:
        Takes them.
    """
    ran: set[nn.Module] = set()
    with ExitStack() as stack:
        for child in module.modules():
            stack.callback(child.register_forward_pre_hook(lambda m, _: ran.add(m)).remove)
        yield ran


@contextmanager
def _without_gradients() -> Iterator[None]:
    with torch.no_grad(), same_random_state(), warnings.catch_warnings():
        # Of reentrant checkpointing, which a training loop has switched on.
        warnings.filterwarnings("ignore", message="None of the inputs have requires_grad")
        yield
