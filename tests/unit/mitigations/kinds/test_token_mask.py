"""A mask over tokens: its strength, its padding, and what it needs."""

import pytest
import torch

from preflens.errors import InputError
from preflens.mitigations import parse_mitigation
from preflens.mitigations.kinds.token_mask import MASK_KINDS, SharedGeometry, TokenMask
from preflens.types import PairGram
from tests.cases.logps import drawn_logps
from tests.cases.mitigations import tokens_of, weights_of


def test_lambda_without_geometry_is_refused():
    with pytest.raises(InputError, match="pass `geometry`"):
        weights_of(parse_mitigation("sparse_mask:kind=lambda"), drawn_logps(pairs=2))


@pytest.mark.parametrize("kind", MASK_KINDS)
def test_every_kind_is_a_token_mask_and_only_lambda_needs_geometry(kind):
    mask = parse_mitigation(f"sparse_mask:kind={kind}")
    assert isinstance(mask, TokenMask)
    assert mask.needs_geometry == (kind == "lambda")


def test_lambda_keeps_contrast_tokens_and_gives_shared_ones_the_largest_harmless_weight():
    logps, one = drawn_logps(pairs=2), torch.ones(2, dtype=torch.float64)
    geometry = SharedGeometry(PairGram(one, 9 * one, 2 * one), 2 * one, one)  # λ* = (1 − 0)/2
    weights, _ = weights_of(parse_mitigation("sparse_mask:kind=lambda"), logps, geometry=geometry)
    contrast, _ = weights_of(parse_mitigation("sparse_mask:kind=contrast"), logps)
    inside = torch.arange(12) < logps.rejected_tokens[:, None]
    assert torch.equal(weights.rejected, (contrast.rejected + 0.5 * (1 - contrast.rejected)) * inside)
    assert torch.equal(weights.chosen, (torch.arange(12) < logps.chosen_tokens[:, None]).double())


def test_strength_mixes_the_mask_with_ones():
    logps = drawn_logps(pairs=2)
    full, _ = parse_mitigation("sparse_mask:kind=contrast").apply(logps, tokens_of(logps))
    half, _ = parse_mitigation("sparse_mask:kind=contrast,strength=0.5").apply(logps, tokens_of(logps))
    torch.testing.assert_close(half.chosen, 0.5 + 0.5 * full.chosen)
