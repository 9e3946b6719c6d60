"""State that is changed for a pass and restored after it: `requires_grad`, the random state, weights."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Switch `requires_grad` off inside a context.

    Args:
        parameters: those with `requires_grad` are switched off, and on again afterwards.

    Yields:
        Nothing.
    """
    trainable = [p for p in parameters if p.requires_grad]
    try:
        for p in trainable:
            p.requires_grad_(False)
        yield
    finally:
        for p in trainable:
            p.requires_grad_(True)


@contextmanager
def same_random_state() -> Iterator[None]:
    """Restore the random state after a context, in which dropout may draw numbers.

    Yields:
        Nothing.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def replaced_by_noise(parameters: Collection[nn.Parameter]) -> Iterator[None]:
    """Give parameters random values of the same size inside a context; the same tensors come back afterwards.

    Args:
        parameters: which.

    Yields:
        Nothing.
    """
    saved = [(p, p.data) for p in parameters]
    try:
        with same_random_state():
            for p, data in saved:
                size = data.float().square().mean().sqrt().clamp(min=1e-2)
                p.data = (torch.randn_like(data, dtype=torch.float32) * size).to(data.dtype)
        yield
    finally:
        for p, data in saved:
            p.data = data
