"""The type that sums are formed in."""

import torch

from preflens.gram.factors.precision import widen


def test_half_precision_becomes_float32_and_float64_stays():
    half, single, double = (torch.ones(1, dtype=d) for d in (torch.bfloat16, torch.float32, torch.float64))
    assert [t.dtype for t in widen(half, half)] == [torch.float32] * 2
    assert [t.dtype for t in widen(half, single)] == [torch.float32] * 2
    assert [t.dtype for t in widen(half, double)] == [torch.float64] * 2
    assert widen(single)[0] is single
