"""Does a loss treat the tokens of a response alike, so that it has one coefficient?"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

# How much ∂L/∂(log-prob of a token) may vary within a response and still be one number: some roundings of float32.
_SAME = 1e-5


def response_coefficients(
    sent: Float[Tensor, " scored_token"], response_index: Int[Tensor, " scored_token"], responses: int
) -> Float[Tensor, " response"] | None:
    """Read ∂L/∂a_i of responses off what the loss sends back to their tokens.

    Args:
        sent: ∂L/∂(log-prob of a token), no unit.
        response_index: which response each token is of.
        responses: how many there are.

    Returns:
        One number a response, zero where it has no token; None where the tokens of any response differ in them.
    """
    counts = torch.bincount(response_index, minlength=responses).clamp(min=1)
    mean = sent.new_zeros(responses).index_add(0, response_index, sent) / counts
    uneven = (sent - mean[response_index]).abs() > _SAME * mean.abs()[response_index]
    return None if bool(uneven.any()) else mean
