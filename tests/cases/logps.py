"""Log-probs of preference pairs, drawn, with everything an objective may ask for."""

from dataclasses import fields, replace
from itertools import product

import torch

from preflens.pair_logps import PairLogps

TOKENS = 12


def drawn_logps(seed=0, pairs=32, spread=0.6, dtype=torch.float64):
    """Pairs whose log-ratios are within about ±`spread` nats, summed from token log-probs."""
    g = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(shape, generator=g, dtype=torch.float64)

    counts = torch.randint(1, TOKENS + 1, (2, pairs), generator=g)
    inside = torch.arange(TOKENS) < counts[..., None]
    token = -3 * uniform(2, pairs, TOKENS) - 0.05
    # the log-ratio of a response is spread over its tokens; reference log-probs stay below zero
    shift = torch.clamp(spread * (2 * uniform(2, pairs, 1) - 1) / counts[..., None], min=-2.9)
    ref_token = torch.minimum(token - shift, torch.tensor(-1e-3))
    level = -2 * uniform(2, pairs, TOKENS)
    token, ref_token, level = ((v * inside).to(dtype) for v in (token, ref_token, level))
    sums, ref_sums = token.sum(2), ref_token.sum(2)
    future = sums + 0.5 * (sums - ref_sums)
    return PairLogps(*sums, *ref_sums, *counts, *token, *ref_token, *level, *future)


def far_logps(seed=0, pairs=32):
    """Pairs far from their reference: log-ratios of tens of nats."""
    g = torch.Generator().manual_seed(seed)
    values = [-60 * torch.rand(pairs, generator=g, dtype=torch.float64) for _ in range(6)]
    counts = [torch.randint(1, 40, (pairs,), generator=g) for _ in range(2)]
    return PairLogps(*values[:4], *counts, future_chosen=values[4], future_rejected=values[5])


def extreme_logps(tokens=(1, 1)):
    """Every combination of very likely and very unlikely responses under policy and reference."""
    grid = torch.tensor(list(product((-1e4, -1e3, -1.0, -1e-3), repeat=4)), dtype=torch.float64)
    counts = [torch.full((len(grid),), n) for n in tokens]
    single = [grid[:, :1], grid[:, 1:2], grid[:, 2:3], grid[:, 3:]]
    return PairLogps(*grid.T.contiguous(), *counts, *single, *single[:2], grid[:, 0], grid[:, 1])


def rows(logps, index):
    """Some of the pairs."""
    values = {f.name: getattr(logps, f.name) for f in fields(logps)}
    return PairLogps(**{k: v if v is None else v[index] for k, v in values.items()})


def moved(logps, side, pair, step):
    """The same pairs with one log-prob moved, as a response or at its first token."""
    values, tokens = getattr(logps, side).clone(), getattr(logps, f"{side}_token_logps")
    values[pair] += step
    return replace(logps, **{side: values}) if tokens is None else replace(
        logps, **{side: values, f"{side}_token_logps": tokens + step * one_at(tokens, pair, 0)}
    )  # fmt: skip


def one_at(values, row, column):
    result = torch.zeros_like(values)
    result[row, column] = 1
    return result
