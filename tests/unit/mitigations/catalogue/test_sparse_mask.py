"""Sparse masks: learned ones converge to the exact ones; `lambda` needs geometry."""

import torch

from preflens.mitigations import parse_mitigation
from preflens.mitigations.catalogue.sparse_mask import sparse_mask
from preflens.mitigations.kinds.token_weights import contrast_tokens
from tests.cases.logps import drawn_logps
from tests.cases.mitigations import tokens_of, weights_of


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


def test_the_penalty_rises_over_the_warm_up_and_empties_the_mask():
    mask, state = sparse_mask(kappa=1e3, warm_up=2.0), None
    sums = []
    for _ in range(2):
        weights, state = weights_of(mask, state=state)
        sums.append(float(weights.chosen.sum() + weights.rejected.sum()))
    assert sums[0] > 0
    assert sums[1] == 0.0
