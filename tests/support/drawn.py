"""Numbers for tests, the same in every process whatever was imported before."""

import torch


def drawn(*shape, seed=0):
    """Standard normal numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
