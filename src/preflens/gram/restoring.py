"""What is changed for a pass and put back after it: which parameters require gradients, and random state."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Let autograd pass parameters by for a while.

    Args:
        parameters: those that require a gradient will again.

    Yields:
        Nothing.
    """
    kept = [p for p in parameters if p.requires_grad]
    try:
        for p in kept:
            p.requires_grad_(False)
        yield
    finally:
        for p in kept:
            p.requires_grad_(True)


@contextmanager
def same_random_state() -> Iterator[None]:
    """Leave the random state as it was: dropout may draw.

    Yields:
        Nothing.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        yield
