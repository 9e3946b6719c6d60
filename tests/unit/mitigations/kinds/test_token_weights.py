"""Token weights: the exact mask, the alignment, λ*, and masked log-probs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from preflens.mitigations.kinds.token_weights import TokenWeights, contrast_tokens, lambda_star, masked_logps, sparsest
from tests.cases.geometries import gram_of
from tests.cases.logps import drawn_logps
from tests.cases.mitigations import pair_grams


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
    gram = pair_grams(pairs)
    star = lambda_star(gram, (g_w * s).sum(1), ratio=ratio)

    def change(weight):
        return ratio * (g_w * g_w).sum(1) - (g_w * (c + weight[:, None] * s)).sum(1)

    inside = (star > 0) & (star < 1)
    assert int(inside.sum()) > 20
    assert bool(((star >= 0) & (star <= 1)).all())
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
