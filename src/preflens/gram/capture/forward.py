"""What a forward pass returns, checked."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from preflens.errors import InputError, NonFiniteLogpError
from preflens.types import HeadInput

ForwardOutput = Float[Tensor, " response"] | HeadInput
Forward = Callable[[], ForwardOutput]
LogpForward = Callable[[], Float[Tensor, " response"]]


def count_responses(outcome: Float[Tensor, " response"] | HeadInput) -> int:
    """Count the responses of a forward pass.

    Args:
        outcome: what `forward` returned.

    Returns:
        How many.

    Raises:
        InputError: it is not one number per response, or not as many rejected as chosen ones.
    """
    if isinstance(outcome, HeadInput):
        shape: tuple[int, ...] = (outcome.responses,)
    else:
        shape = tuple(outcome.shape)
    if len(shape) != 1 or shape[0] == 0 or shape[0] % 2:
        raise InputError(
            f"`forward` should return one number per response, as many rejected as chosen ones. Found shape {shape}."
        )
    return shape[0]


def check_finite(logps: Float[Tensor, " response"]) -> None:
    """Refuse log-probs that are not finite, before anything is differentiated.

    Args:
        logps: of the responses.

    Raises:
        NonFiniteLogpError: one is not.
    """
    bad = ~torch.isfinite(logps)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise NonFiniteLogpError(row, len(logps), float(logps[row]))
