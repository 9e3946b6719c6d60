"""Controlled updates change log-probs in proportion to their coefficients."""

import pytest
import torch

from preflens.mitigations import parse_mitigation
from preflens.mitigations.catalogue.controlled import controlled
from preflens.types import PairCoefficients
from tests.cases.geometries import drawn_coefficients, gram_of
from tests.cases.mitigations import drawn


def test_controlled_undamped_changes_every_logp_in_the_wished_for_proportion():
    gradients = torch.randn(16, 24, dtype=torch.float64)
    gram, c = gram_of(gradients), drawn_coefficients(8)
    found = parse_mitigation("controlled:damping=0").apply(c, gram)
    change = gram.matrix @ found.coefficients.signed()
    ratio = change / c.signed()
    torch.testing.assert_close(ratio, ratio[0].expand(16), rtol=1e-8, atol=0)
    plain = gram.matrix @ c.signed()
    torch.testing.assert_close(c.signed() @ change, c.signed() @ plain)  # the loss falls by as much
    assert found.report["met"] == pytest.approx(1)


def test_controlled_with_infinite_damping_would_be_each_response_for_itself():
    _, gram, c = drawn()
    found = parse_mitigation("controlled:damping=1e9").apply(c, gram).coefficients.signed()
    alone = c.signed() / gram.matrix.diagonal()
    torch.testing.assert_close(found / found.norm(), alone / alone.norm(), rtol=1e-4, atol=1e-7)


def test_a_batch_whose_plain_step_does_not_lower_the_loss_is_untreated():
    zeros = PairCoefficients(*torch.zeros(2, 3, dtype=torch.float64))
    mitigated = controlled().apply(zeros, gram_of(torch.eye(6, dtype=torch.float64)))
    assert mitigated.untreated.all()
    assert not mitigated.coefficients.signed().any()
