"""What margins are made of: a number for one response, of the chosen or of the rejected side."""

from collections.abc import Callable

import torch

from preflens.pair_logps import PerPair, ResponseLogps

RewardFn = Callable[[ResponseLogps], PerPair]


def log_ratio(response: ResponseLogps) -> PerPair:
    """Return log π(y|x) − log π_ref(y|x), nats."""
    return response.log_ratio


def logp(response: ResponseLogps) -> PerPair:
    """Return log π(y|x), nats."""
    return response.logp


def logp_per_token(response: ResponseLogps) -> PerPair:
    """Return log π(y|x) / |y|, nats per token."""
    return response.logp_per_token


def log_ratio_per_token(response: ResponseLogps) -> PerPair:
    """Return (log π(y|x) − log π_ref(y|x)) / |y|, nats per token."""
    return response.log_ratio_per_token


def zero_reward(response: ResponseLogps) -> PerPair:
    """Return zero for every pair: most objectives have no term on the chosen response alone."""
    return torch.zeros_like(response.logp)


def times(factor: float, side: RewardFn) -> RewardFn:
    """Return the side times a constant.

    Args:
        factor: the constant.
        side: what is scaled.

    Returns:
        The scaled side.
    """

    def times(response: ResponseLogps) -> PerPair:
        return factor * side(response)

    return times
