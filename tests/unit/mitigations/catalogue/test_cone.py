"""The cone: the nearest update that meets all floors."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from preflens.dynamics import predict_change
from preflens.mitigations.catalogue.cone import cone, nearest_update
from preflens.mitigations.kinds.batch_update import update_of
from preflens.types import PairCoefficients
from tests.cases.geometries import drawn_coefficients, gram_of
from tests.cases.mitigations import drawn, same


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
