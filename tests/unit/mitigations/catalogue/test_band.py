"""The band: pairs are brought inside, by the smallest correction."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preflens.dynamics import band_position
from preflens.mitigations import parse_mitigation
from preflens.mitigations.catalogue.band import scaled_coefficients
from preflens.types import PairCoefficients
from tests.cases.mitigations import drawn


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_band_brings_pairs_inside_and_no_further(seed, margin):
    _, gram, c = drawn(32, seed)
    pair = gram.pair_gram()
    before = band_position(pair, c)
    found = parse_mitigation(f"band:margin={margin}").apply(c, gram)
    after = band_position(pair, found.coefficients)
    here = ~found.untreated
    half_width = before.slack + before.log_ratio.abs()
    assert bool((after.slack >= half_width.clamp(max=margin) - 1e-9)[here].all())
    inside = here & (before.slack >= margin)
    assert torch.equal(found.coefficients.chosen[inside], c.chosen[inside])
    assert torch.equal(found.coefficients.rejected[inside], c.rejected[inside])
    corrected = here & ~inside & (half_width > margin)
    torch.testing.assert_close(after.slack[corrected], torch.full_like(after.slack[corrected], margin))


def test_scaled_coefficients_keep_their_product():
    one, log_2 = torch.ones(2, dtype=torch.float64), torch.tensor([0.0, 2.0], dtype=torch.float64).exp().log2()
    scaled = scaled_coefficients(PairCoefficients(3 * one, 5 * one), log_2)
    torch.testing.assert_close(scaled.chosen, 3 * log_2.exp())
    torch.testing.assert_close(scaled.chosen * scaled.rejected, 15 * one)
