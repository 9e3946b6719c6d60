"""Laws of mitigations, over the whole table."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from preflens.dynamics import rollout
from preflens.errors import InputError
from preflens.mitigations import as_rollout_transform, mitigation_label, parse_mitigation
from preflens.objectives import dpo
from preflens.types import PairCoefficients
from tests.cases.geometries import gram_of
from tests.cases.logps import drawn_logps
from tests.cases.mitigations import MAPS, TEXTS, drawn, same, with_strength


@pytest.mark.parametrize("text", [*TEXTS, "sparse_mask:kind=lambda"])
def test_a_label_is_read_back(text):
    mitigation = parse_mitigation(text)
    assert parse_mitigation(mitigation_label(mitigation)).parameters == mitigation.parameters
    assert mitigation_label(mitigation) == text
    assert mitigation.source.title


@pytest.mark.parametrize("text", MAPS)
def test_strength_zero_is_the_plain_step_to_the_last_bit(text):
    _, gram, c = drawn()
    assert with_strength(text, 0).apply(c, gram).coefficients is c


@pytest.mark.parametrize("text", MAPS)
def test_small_strength_is_a_small_change(text):
    _, gram, c = drawn()
    full = parse_mitigation(text).apply(c, gram).coefficients
    for strength in (1e-3, 1e-6, 1e-9):
        found = with_strength(text, strength).apply(c, gram).coefficients
        for side in ("chosen", "rejected"):
            start, end, here = (getattr(x, side) for x in (c, full, found))
            reach = (end - start).abs() + (end / start).abs().log().abs().nan_to_num(0, 0, 0) * start
            assert bool(((here - start).abs() <= 1.1 * strength * reach + 1e-16).all())


@pytest.mark.parametrize("text", MAPS)
def test_pairs_that_cannot_be_treated_are_left_alone_and_counted(text):
    gradients, _, c = drawn(6)
    gradients[6 + 2] = gradients[2] * 3  # parallel
    gradients[3] = 0
    d_w, d_l = c.chosen.clone(), c.rejected.clone()
    d_w[0], d_l[1] = -0.02, 0.0
    given_c = PairCoefficients(d_w, d_l)
    found = parse_mitigation(text).apply(given_c, gram_of(gradients))
    assert found.untreated.tolist() == [True, True, True, True, False, False]
    assert torch.equal(found.coefficients.chosen[:4], d_w[:4])
    assert torch.equal(found.coefficients.rejected[:4], d_l[:4])


@pytest.mark.parametrize("text", MAPS)
def test_nothing_depends_on_the_order_of_pairs(text):
    gradients, gram, c = drawn()
    order = torch.randperm(8)
    turned = gram_of(gradients[torch.cat([order, order + 8])])
    found = parse_mitigation(text).apply(PairCoefficients(c.chosen[order], c.rejected[order]), turned).coefficients
    expected = parse_mitigation(text).apply(c, gram).coefficients
    torch.testing.assert_close(found.chosen, expected.chosen[order], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(found.rejected, expected.rejected[order], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("text", MAPS)
def test_the_scale_of_the_loss_scales_the_step(text):
    _, gram, c = drawn()
    scaled = PairCoefficients(4 * c.chosen, 4 * c.rejected)
    factor = 1 if "unit" in text else 4
    found, expected = (parse_mitigation(text).apply(x, gram).coefficients for x in (scaled, c))
    torch.testing.assert_close(found.chosen, factor * expected.chosen, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(found.rejected, factor * expected.rejected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("text", ["reward_calibration", "cone", "controlled"])
def test_maps_over_batches_refuse_the_geometry_of_single_pairs(text):
    _, gram, c = drawn()
    with pytest.raises(InputError, match="whole batch"):
        parse_mitigation(text).apply(c, gram.pair_gram())


@pytest.mark.parametrize("text", ["normalized", "band"])
def test_maps_of_single_pairs_do_not_depend_on_the_others(text):
    _, gram, c = drawn()
    some = replace(gram, matrix=gram.matrix[[2, 5, 10, 13]][:, [2, 5, 10, 13]], logps=gram.logps[:4])
    found = parse_mitigation(text).apply(PairCoefficients(c.chosen[[2, 5]], c.rejected[[2, 5]]), some).coefficients
    assert torch.equal(found.chosen, parse_mitigation(text).apply(c, gram).coefficients.chosen[[2, 5]])


_FIELDS = ("chosen_sq_norm", "rejected_sq_norm", "inner_product")


@pytest.mark.parametrize("text", MAPS)
def test_rollouts_take_mitigations_as_a_what_if(text):
    _, gram, _ = drawn(8, 3)
    given_rollout = partial(rollout, gram, drawn_logps(pairs=8), dpo(), steps=5, learning_rate=0.01)
    plain, none = given_rollout(), given_rollout(transform=as_rollout_transform(with_strength(text, 0)))
    assert same(plain, none)
    found = given_rollout(transform=as_rollout_transform(parse_mitigation(text)))
    assert not torch.equal(found.chosen, plain.chosen)
    assert torch.isfinite(found.chosen).all()
