"""The order of responses in a batch: chosen responses first."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor


def chosen_first(counts: Sequence[int]) -> Int[Tensor, " response"]:
    """Return the permutation that puts the chosen responses of several passes before all rejected ones.

    Args:
        counts: number of responses of each pass, whose first half is chosen.

    Returns:
        Indices into the responses of all passes, one pass after the other.

    Example:
        Two passes, of one pair and of two pairs:

        >>> chosen_first([2, 4]).tolist()
        [0, 2, 3, 1, 4, 5]
    """
    indices = torch.arange(sum(counts)).split(list(counts))
    return torch.cat([part.chunk(2)[side] for side in (0, 1) for part in indices])
