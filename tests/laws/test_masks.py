"""Masks: which tokens take part, and how much."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from preflens.errors import InputError
from preflens.mitigations import (
    lambda_star,
    masked_logps,
)
from preflens.mitigations.kinds.token_weights import TokenWeights, contrast_tokens, sparsest
from preflens.mitigations.parse import parse_mitigation
from preflens.objectives import dpo
from tests.cases.geometries import gram_of
from tests.cases.logps import drawn_logps
from tests.cases.mitigations import MASKS, with_strength

ROUNDING = 1e-12
_FIELDS = ("chosen_sq_norm", "rejected_sq_norm", "inner_product")


def tokens_of(logps, seed=0):
    """Token ids that fit the counts; about half of them shared."""
    g = np.random.default_rng(seed)
    return [
        (g.integers(0, 4, int(n)).tolist(), g.integers(0, 4, int(m)).tolist())
        for n, m in zip(logps.chosen_tokens, logps.rejected_tokens, strict=True)
    ]


def weights_of(mitigation, logps, **given):
    keys = [str(k) for k in range(len(logps.chosen))]
    return mitigation.apply(logps, tokens_of(logps), keys=keys, **given)


@pytest.mark.parametrize("text", MASKS)
def test_masks_of_strength_zero_leave_the_loss_as_it_is(text):
    logps = drawn_logps()
    weights, _ = weights_of(with_strength(text, 0), logps)
    assert bool((weights.chosen == 1).all() and (weights.rejected == 1).all())
    masked = masked_logps(logps, weights)
    torch.testing.assert_close(dpo().loss(masked), dpo().loss(logps))


@pytest.mark.parametrize("text", MASKS)
def test_masks_are_continuous_in_strength(text):
    logps = drawn_logps()
    plain = dpo().coefficients(logps)
    weights, _ = weights_of(with_strength(text, 1e-9), logps)
    assert float((weights.chosen - 1).abs().max()) <= 1.1e-9
    torch.testing.assert_close(dpo().coefficients(masked_logps(logps, weights)).chosen, plain.chosen)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.02, 2), st.floats(0, 0.3))
def test_the_sparsest_mask_is_the_minimiser(seed, beta, kappa):
    gains = torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def loss(mask):
        return float(
            -torch.nn.functional.logsigmoid(beta * (torch.as_tensor(mask, dtype=torch.float64) * gains).sum())
        ) + kappa * sum(mask)

    found = sparsest(gains, beta=beta, kappa=kappa)
    best = minimize(loss, np.full(6, 0.5), bounds=[(0, 1)] * 6, method="L-BFGS-B", options={"ftol": 1e-14})
    assert loss(found.tolist()) <= best.fun + 1e-9


def test_learned_masks_come_to_the_minimiser_and_are_kept():
    logps = drawn_logps(pairs=2)
    learned = parse_mitigation("sparse_mask:kind=learned,beta=0.5,kappa=0.05,warm_up=0,rate=8")
    state = None
    for _ in range(300):
        weights, state = weights_of(learned, logps, state=state)
    assert state.updates == 300
    exact, _ = weights_of(parse_mitigation("sparse_mask:beta=0.5,kappa=0.05,warm_up=0"), logps)
    torch.testing.assert_close(weights.chosen, exact.chosen, rtol=0, atol=1e-3)
    torch.testing.assert_close(weights.rejected, exact.rejected, rtol=0, atol=1e-3)


def test_masks_are_warmed_up_from_the_alignment():
    logps = drawn_logps(pairs=2)
    ids = tokens_of(logps)
    (weights, state) = parse_mitigation("sparse_mask:kind=learned,rate=0").apply(logps, ids, keys=["a", "b"])
    alone = torch.tensor(contrast_tokens(*ids[0])[0], dtype=torch.float64)
    assert torch.equal(weights.chosen[0, : len(alone)], 0.5 + 0.5 * alone)
    assert set(state.masks) == {"a", "b"}


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ([1, 2, 3], [1, 9, 3], ([0, 1, 0], [0, 1, 0])),  # substitution
        ([1, 2, 3, 4], [1, 3, 4], ([0, 1, 0, 0], [0, 0, 0])),  # insertion
        ([1, 3], [1, 5, 6, 3], ([0, 0], [0, 1, 1, 0])),  # deletion
        ([1, 2], [1, 2], ([0, 0], [0, 0])),
        ([], [4], ([], [1])),
    ],
)
def test_contrast_tokens_are_found_by_alignment(chosen, rejected, expected):
    assert contrast_tokens(chosen, rejected) == tuple([bool(x) for x in side] for side in expected)


def test_lambda_star_is_the_largest_weight_with_which_chosen_does_not_fall():
    draw = torch.Generator().manual_seed(0)
    c, s = torch.randn(2, 500, 8, generator=draw, dtype=torch.float64)
    g_w = torch.randn(500, 8, generator=draw, dtype=torch.float64) + s
    ratio = torch.rand(500, generator=draw, dtype=torch.float64) + 0.5
    pairs = [gram_of(torch.stack([w, l])).pair_gram() for w, l in zip(g_w, c + s, strict=True)]  # noqa: E741
    gram = type(pairs[0])(*(torch.cat([getattr(p, f) for p in pairs]) for f in _FIELDS))
    star = lambda_star(gram, (g_w * s).sum(1), ratio=ratio)

    def change(weight):
        return ratio * (g_w * g_w).sum(1) - (g_w * (c + weight[:, None] * s)).sum(1)

    inside = (star > 0) & (star < 1)
    assert int(inside.sum()) > 20
    torch.testing.assert_close(change(star)[inside], torch.zeros_like(change(star)[inside]), atol=1e-9, rtol=0)
    assert bool((change(star)[star == 1] >= -1e-9).all())


def test_token_weights_multiply_the_gradient_of_each_token():
    logps = drawn_logps(pairs=3)
    token = logps.chosen_token_logps.clone().requires_grad_()
    weights = TokenWeights(torch.rand(3, 12, dtype=torch.float64), torch.rand(3, 12, dtype=torch.float64))
    masked = masked_logps(replace(logps, chosen_token_logps=token), weights)
    (gradient,) = torch.autograd.grad(masked.chosen.sum(), token)
    inside = torch.arange(12) < logps.chosen_tokens[:, None]
    torch.testing.assert_close(gradient, weights.chosen * inside)


def test_lambda_without_geometry_is_refused():
    with pytest.raises(InputError, match="pass `geometry`"):
        weights_of(parse_mitigation("sparse_mask:kind=lambda"), drawn_logps(pairs=2))
