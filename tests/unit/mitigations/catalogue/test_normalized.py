"""Pairwise normalized gradients move every pair as intended, by steps of equal length."""

import pytest
import torch

from preflens.dynamics import gradient_condition
from preflens.mitigations import parse_mitigation
from preflens.mitigations.catalogue.normalized import normalized
from preflens.mitigations.kinds.base import PARALLEL
from tests.cases.geometries import drawn_coefficients, drawn_gradients, gram_of
from tests.cases.mitigations import ROUNDING, drawn, pair_grams


@pytest.mark.parametrize("scale", ["objective", "shared", "unit"])
def test_normalized_moves_every_own_pair_as_intended(scale):
    """One thousand pairs; the plain step has many of them wrong."""
    gradients = drawn_gradients(1000)
    n = torch.arange(1000)
    pairs = [gram_of(gradients[[k, 1000 + k]]).pair_gram() for k in n.tolist()]
    gram = pair_grams(pairs)
    c = drawn_coefficients(1000)
    plain = gradient_condition(gram, c)
    assert int((torch.minimum(plain.chosen, plain.rejected) < 0).sum()) > 100
    whole = gram_of(gradients) if scale == "shared" else gram
    found = parse_mitigation(f"normalized:scale={scale}").apply(c, whole)
    slack = gradient_condition(gram, found.coefficients)
    for side, norm, d in (
        (slack.chosen, gram.chosen_sq_norm, found.coefficients.chosen),
        (slack.rejected, gram.rejected_sq_norm, found.coefficients.rejected),
    ):
        assert bool((side[~found.untreated] >= -ROUNDING * (d * norm)[~found.untreated]).all())
    assert bool((gram.cosine[found.untreated] >= 1 - PARALLEL).all())


def test_normalized_gradients_pull_equally():
    _, gram, c = drawn()
    pair = gram.pair_gram()
    found = parse_mitigation("normalized").apply(c, gram).coefficients
    torch.testing.assert_close(found.chosen * pair.chosen_sq_norm.sqrt(), found.rejected * pair.rejected_sq_norm.sqrt())
    torch.testing.assert_close(found.chosen * found.rejected, c.chosen * c.rejected)


def test_the_three_scales_have_the_factors_that_they_say():
    _, gram, c = drawn()
    pair = gram.pair_gram()
    norms = pair.chosen_sq_norm.sqrt(), pair.rejected_sq_norm.sqrt()
    own = (c.chosen * c.rejected * norms[0] * norms[1]).sqrt()
    for scale, expected in (("objective", own), ("shared", own.mean().expand(8)), ("unit", torch.ones_like(own))):
        mitigated = normalized(scale=scale).apply(c, gram).coefficients
        torch.testing.assert_close(mitigated.chosen * norms[0], expected)
