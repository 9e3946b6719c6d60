"""The coefficient of a response, where a loss weights all its tokens equally."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

# How much ∂L/∂(log-prob of a token) may vary within a response to count as one number: a few roundings of float32.
_TOLERANCE = 1e-5


def response_coefficients(
    token_gradients: Float[Tensor, " scored_token"], response_index: Int[Tensor, " scored_token"], responses: int
) -> Float[Tensor, " response"] | None:
    """Return ∂L/∂a_i of each response, from the gradients of its tokens.

    Args:
        token_gradients: ∂L/∂(log-prob of a token), no unit.
        response_index: the response of each token.
        responses: their number.

    Returns:
        One number per response, no unit, zero for a response without tokens; None where the tokens of any response have
        different gradients.
    """
    counts = torch.bincount(response_index, minlength=responses).clamp(min=1)
    mean = token_gradients.new_zeros(responses).index_add(0, response_index, token_gradients) / counts
    differs = (token_gradients - mean[response_index]).abs() > _TOLERANCE * mean.abs()[response_index]
    return None if bool(differs.any()) else mean
