"""What margins are made of: a number for one response, of the chosen or of the rejected side."""

from collections.abc import Callable

import torch

from preflens.pair_logps import Pairs, ResponseLogps

Side = Callable[[ResponseLogps], Pairs]


def log_ratio(response: ResponseLogps) -> Pairs:
    """Return log π(y|x) − log π_ref(y|x), nats."""
    return response.log_ratio


def logp(response: ResponseLogps) -> Pairs:
    """Return log π(y|x), nats."""
    return response.logp


def logp_per_token(response: ResponseLogps) -> Pairs:
    """Return log π(y|x) / |y|, nats per token."""
    return response.logp_per_token


def log_ratio_per_token(response: ResponseLogps) -> Pairs:
    """Return (log π(y|x) − log π_ref(y|x)) / |y|, nats per token."""
    return response.log_ratio_per_token


def nothing(response: ResponseLogps) -> Pairs:
    """Return zero for every pair: most objectives have no term on the chosen response alone."""
    return torch.zeros_like(response.logp)


def scaled(factor: float, side: Side) -> Side:
    """Return the side times a constant.

    Args:
        factor: the constant.
        side: what is scaled.

    Returns:
        The scaled side.
    """

    def times(response: ResponseLogps) -> Pairs:
        return factor * side(response)

    return times
