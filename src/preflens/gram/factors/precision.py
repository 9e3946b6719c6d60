"""The floating-point type that sums of products are formed in."""

import torch
from torch import Tensor


def widen(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Bring tensors to one type that sums can be formed in.

    Args:
        *tensors: floating point.

    Returns:
        The same values in float32, or float64 where one of them is.
    """
    common = torch.float32
    for tensor in tensors:
        common = torch.promote_types(common, tensor.dtype)
    return tuple(t.to(common) for t in tensors)
