"""Laws of mitigations, over the whole table, and what each of them promises."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import preflens
from preflens.dynamics import band_position as place_in_band
from preflens.dynamics import gradient_condition, predict_change, rollout
from preflens.errors import InputError
from preflens.mitigations import (
    MITIGATIONS,
    CoefficientMap,
    Splitting,
    TokenMask,
    as_rollout_transform,
    cone,
)
from preflens.mitigations.catalogue.cone import nearest_update
from preflens.mitigations.kinds.base import PARALLEL
from preflens.mitigations.kinds.batch_update import update_of
from preflens.mitigations.parse import mitigation_label, parse_mitigation
from preflens.objectives import dpo
from preflens.types import PairCoefficients
from tests.cases.geometries import drawn_coefficients, drawn_gradients, gram_of
from tests.cases.logps import drawn_logps
from tests.cases.mitigations import MASKS, with_strength

MAPS = (
    "normalized", "normalized:scale=shared", "normalized:scale=unit", "band", "reward_calibration", "cone",
    "controlled",
)  # fmt: skip
STEPS = ("splitting", "splitting:kind=sequential")
# Rounding of float64 in sums of about a thousand products.
ROUNDING = 1e-12


def drawn(pairs=8, seed=0):
    gradients = drawn_gradients(pairs, seed=seed)
    return gradients, gram_of(gradients), drawn_coefficients(pairs, seed=seed + 1)


def same(one, other):
    return torch.equal(one.chosen, other.chosen) and torch.equal(one.rejected, other.rejected)


def test_every_mitigation_file_is_in_the_table():
    folder = Path(preflens.__file__).parent / "mitigations/catalogue"
    assert {p.stem for p in folder.glob("*.py")} - {"__init__"} == set(MITIGATIONS)


@pytest.mark.parametrize("text", [*MAPS, *MASKS, *STEPS, "sparse_mask:kind=lambda"])
def test_a_label_is_read_back(text):
    mitigation = parse_mitigation(text)
    assert parse_mitigation(mitigation_label(mitigation)).parameters == mitigation.parameters
    assert mitigation_label(mitigation) == text
    assert mitigation.source.title
    expected = CoefficientMap if text in MAPS else Splitting if text in STEPS else TokenMask
    assert isinstance(mitigation, expected)


def test_the_laws_cover_the_table():
    assert {parse_mitigation(text).name for text in (*MAPS, *MASKS, *STEPS)} == set(MITIGATIONS)


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


@pytest.mark.parametrize("scale", ["objective", "shared", "unit"])
def test_normalized_moves_every_own_pair_as_intended(scale):
    """One thousand pairs; the plain step has many of them wrong."""
    gradients = drawn_gradients(1000)
    n = torch.arange(1000)
    pairs = [gram_of(gradients[[k, 1000 + k]]).pair_gram() for k in n.tolist()]
    gram = type(pairs[0])(*(torch.cat([getattr(p, f) for p in pairs]) for f in _FIELDS))
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


_FIELDS = ("chosen_sq_norm", "rejected_sq_norm", "inner_product")


def test_normalized_gradients_pull_equally():
    _, gram, c = drawn()
    pair = gram.pair_gram()
    found = parse_mitigation("normalized").apply(c, gram).coefficients
    torch.testing.assert_close(found.chosen * pair.chosen_sq_norm.sqrt(), found.rejected * pair.rejected_sq_norm.sqrt())
    torch.testing.assert_close(found.chosen * found.rejected, c.chosen * c.rejected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_band_brings_pairs_inside_and_no_further(seed, margin):
    _, gram, c = drawn(32, seed)
    pair = gram.pair_gram()
    before = place_in_band(pair, c)
    found = parse_mitigation(f"band:margin={margin}").apply(c, gram)
    after = place_in_band(pair, found.coefficients)
    here = ~found.untreated
    half_width = before.slack + before.log_ratio.abs()
    assert bool((after.slack >= half_width.clamp(max=margin) - 1e-9)[here].all())
    inside = here & (before.slack >= margin)
    assert torch.equal(found.coefficients.chosen[inside], c.chosen[inside])
    assert torch.equal(found.coefficients.rejected[inside], c.rejected[inside])
    corrected = here & ~inside & (half_width > margin)
    torch.testing.assert_close(after.slack[corrected], torch.full_like(after.slack[corrected], margin))


def test_reward_calibration_is_normalized_for_a_batch_of_one_pair_and_remembers():
    gradients = drawn_gradients(1)
    gram, c = gram_of(gradients), drawn_coefficients(1)
    mitigation = parse_mitigation("reward_calibration")
    found = mitigation.apply(c, gram)
    torch.testing.assert_close(
        found.coefficients.chosen, parse_mitigation("normalized").apply(c, gram).coefficients.chosen
    )
    again = mitigation.apply(PairCoefficients(c.chosen * 4, c.rejected), gram, found.state)
    assert again.state.updates == 2
    # log D_w rose by 0.02 · log 4, and k is its inverse square root
    expected = found.report["log_k"] - 0.5 * 0.02 * np.log(4)
    assert again.report["log_k"] == pytest.approx(expected)


def test_reward_calibration_leaves_a_batch_alone_whose_mean_coefficient_is_negative():
    _, gram, c = drawn(2)
    found = parse_mitigation("reward_calibration").apply(PairCoefficients(-c.chosen, c.rejected), gram)
    assert found.untreated.all()
    assert found.state is None


@pytest.mark.parametrize("seed", range(5))
def test_cone_meets_its_floors_and_is_the_nearest_update(seed):
    """Against a general solver of the problem that it is the dual of."""
    gradients, gram, c = drawn(4, seed)
    found = cone(floor=0.2, slack=1e-9).apply(c, gram)
    plain, signs = c.signed(), torch.tensor([1.0] * 4 + [-1.0] * 4, dtype=torch.float64)
    u, rows = (gradients.T @ plain).numpy(), (signs[:, None] * gradients).numpy()
    floor = 0.2 * float((gram.matrix @ plain).abs().mean())
    best = minimize(
        lambda v: ((v - u) ** 2).sum(), u, jac=lambda v: 2 * (v - u), method="SLSQP",
        constraints=[{"type": "ineq", "fun": lambda v: rows @ v - floor, "jac": lambda _: rows}],
        options={"maxiter": 500, "ftol": 1e-14},
    )  # fmt: skip
    ours = (gradients.T @ found.coefficients.signed()).numpy()
    assert found.report["floors_met"] == 1.0
    assert np.linalg.norm(ours - u) <= 1.001 * np.linalg.norm(best.x - u)


def test_cone_changes_nothing_where_everything_moves_as_intended():
    gradients = torch.eye(6, dtype=torch.float64)
    c = drawn_coefficients(3, spread=0.1)
    found = cone(floor=0.1).apply(c, gram_of(gradients))
    assert same(found.coefficients, c)
    assert found.report == {"size": 1.0, "collapsed": 0.0, "floors_met": 1.0}


def test_cone_repairs_single_pairs_that_others_sink():
    _, gram, c = drawn(8, 3)
    plain = predict_change(gram, c, learning_rate=1.0)
    assert bool((plain.chosen < 0).any() or (plain.rejected > 0).any())
    change = predict_change(gram, cone(slack=1e-9).apply(c, gram).coefficients, learning_rate=1.0)
    if cone(slack=1e-9).apply(c, gram).report["floors_met"] == 1.0:
        assert bool((change.chosen > 0).all() and (change.rejected < 0).all())


def test_cone_says_so_when_the_update_collapses():
    """Two pairs with opposite wishes: without floors only no step at all harms nobody."""
    g = torch.tensor([[1.0, 0.0], [-1.0, 1e-4], [-1.0, 0.0], [1.0, 1e-4]], dtype=torch.float64)
    c = PairCoefficients(*torch.tensor([[0.1, 0.05], [0.1, 0.05]], dtype=torch.float64))
    found = cone(floor=0.0, slack=1e-6).apply(c, gram_of(g))
    assert found.report["collapsed"] == 1.0
    assert found.report["size"] < 0.1


def test_contradicting_floors_are_met_as_well_as_they_can_be():
    g = torch.tensor([[1.0, 0.1], [-1.0, 0.1], [0.0, -1.0], [0.0, -1.0]], dtype=torch.float64)
    c = PairCoefficients(*torch.tensor([[0.1, 0.1], [0.1, 0.1]], dtype=torch.float64))
    update = update_of(c, gram_of(g))
    found = nearest_update(update, torch.full((4,), 0.5, dtype=torch.float64), slack=1e-3)
    assert torch.isfinite(found.weights).all()
    impossible = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, -1.0], [0.0, -1.0]], dtype=torch.float64)
    torn = nearest_update(update_of(c, gram_of(impossible)), torch.full((4,), 0.5, dtype=torch.float64), slack=1e-3)
    assert torn.met == 0.5


def test_cone_protects_probe_pairs_too():
    gradients, _, c = drawn(6, 5)
    rows = [*range(4), *range(6, 10)]
    own = PairCoefficients(c.chosen[:4], c.rejected[:4])
    without = predict_change(gram_of(gradients[rows]), own, learning_rate=1.0)
    assert len(without.chosen) == 4
    found = cone(slack=1e-9).apply(own, gram_of(gradients))
    change = gram_of(gradients).matrix @ found.coefficients.signed()
    assert len(found.coefficients.chosen) == 6
    assert len(found.untreated) == 4
    if found.report["floors_met"] == 1.0:
        assert bool((change[:6] > 0).all() and (change[6:] < 0).all())


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


@pytest.mark.parametrize("text", MAPS)
def test_rollouts_take_mitigations_as_a_what_if(text):
    _, gram, _ = drawn(8, 3)
    given_rollout = partial(rollout, gram, drawn_logps(pairs=8), dpo(), steps=5, learning_rate=0.01)
    plain, none = given_rollout(), given_rollout(transform=as_rollout_transform(with_strength(text, 0)))
    assert same(plain, none)
    found = given_rollout(transform=as_rollout_transform(parse_mitigation(text)))
    assert not torch.equal(found.chosen, plain.chosen)
    assert torch.isfinite(found.chosen).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normalised", "Did you mean `normalized`"),
        ("normalized:scale=mine", "should be one of objective, shared, unit"),
        ("normalized:strength=2", "from 0 to 1"),
        ("normalized:scal=unit", "Did you mean `scale`"),
        ("band:margin=x", "should be a number"),
        ("band:margin", "no value"),
        ("cone:floor=-1", "0 or more"),
        ("sparse_mask:kind=soft", "should be one of exact"),
        ("splitting:kind=soft", "should be one of virtual"),
    ],
)
def test_texts_that_name_no_mitigation_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_mitigation(text)
