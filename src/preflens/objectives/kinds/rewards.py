"""Rewards: functions of one response that margins and regularizers are made of."""

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
    """Return zero for every pair, for objectives without a regularizer on the chosen response."""
    return torch.zeros_like(response.logp)


def times(factor: float, reward: RewardFn) -> RewardFn:
    """Return a reward times a constant.

    Args:
        factor: the constant.
        reward: the reward.

    Returns:
        The scaled reward.
    """

    def scaled_reward(response: ResponseLogps) -> PerPair:
        return factor * reward(response)

    return scaled_reward
