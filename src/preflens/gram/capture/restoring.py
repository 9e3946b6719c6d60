"""What is changed for a pass and put back after it: which parameters require gradients, random state, weights."""

from collections.abc import Collection, Iterable, Iterator
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


@contextmanager
def replaced_by_noise(parameters: Collection[nn.Parameter]) -> Iterator[None]:
    """Let parameters have other values of the same size for a while; the tensors themselves come back.

    Args:
        parameters: which.

    Yields:
        Nothing.
    """
    kept = [(p, p.data) for p in parameters]
    try:
        with same_random_state():
            for p, data in kept:
                size = data.float().square().mean().sqrt().clamp(min=1e-2)
                p.data = (torch.randn_like(data, dtype=torch.float32) * size).to(data.dtype)
        yield
    finally:
        for p, data in kept:
            p.data = data
