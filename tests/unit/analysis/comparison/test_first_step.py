"""First steps, by hand: two update batches of one pair each, coefficients of 1."""

import pytest
import torch

from preflens import MarginObjective
from preflens.analysis.comparison.first_step import coefficients_of, first_steps, stack_batches
from preflens.mitigations.parse import parse_mitigation
from preflens.objectives import dpo
from tests.support.hand_made import training, two_batches


def unit():
    """An objective with d_w = d_l = 1."""
    return MarginObjective("unit", m=lambda z: z, h_w=lambda r: r.logp, h_l=lambda r: r.logp, source=dpo().source)


def test_batches_are_concatenated_in_order():
    stacked = stack_batches(two_batches())
    assert stacked.sizes == (1, 1)
    assert stacked.gram.chosen_sq_norm.tolist() == [1.0, 4.0]
    assert stacked.gram.inner_product.tolist() == [0.0, 2.0]


def test_a_first_step_by_hand():
    coefficients = coefficients_of(unit(), training())
    sign = coefficients.chosen[0].item()
    products = torch.tensor([[[1.0, 2.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]], dtype=torch.float64)
    steps = first_steps({"unit": unit()}, training(), products, {})
    # Each batch steps along g_w − g_l: (1, −1), then (1, −1).
    assert (steps.shared / sign).tolist() == [[[1.0, 2.0], [-1.0, 0.0]]]
    assert (steps.signed / sign).tolist() == [[[1.0, 1.0], [-1.0, -1.0]]]
    # ⟨g_w − g_l, V⟩ / 2 of each pair, for V of the chosen and of the rejected mean.
    assert (steps.influence / sign).tolist() == [[[0.5, 0.5], [-0.5, -0.5]]]


def test_coefficients_pass_through_a_mitigation_per_update_batch():
    plain = coefficients_of(dpo(), training())
    cone = coefficients_of(dpo(), training(), parse_mitigation("cone"))
    assert cone.chosen[0].item() == pytest.approx(plain.chosen[0].item())  # orthogonal gradients need no change
    # In the second batch ⟨g_w, g_l⟩ = 2 = ‖g_l‖², so the rejected log-prob does not fall with equal coefficients.
    change = cone.chosen[1] * 2 - cone.rejected[1] * 2
    assert change.item() <= 1e-12
