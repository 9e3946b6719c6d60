"""The floating-point type in which sums of products are formed."""

import torch
from torch import Tensor


def widen(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Convert tensors to one type that sums can be formed in.

    Args:
        *tensors: floating point.

    Returns:
        The same values in float32, or in float64 where one of them is float64.
    """
    common = torch.float32
    for tensor in tensors:
        common = torch.promote_types(common, tensor.dtype)
    return tuple(t.to(common) for t in tensors)
