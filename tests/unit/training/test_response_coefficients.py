"""The coefficient of a response whose tokens all have the same gradient."""

import pytest
import torch

from preflens.training.response_coefficients import response_coefficients


def test_equal_gradients_within_responses_are_their_coefficients():
    gradients, index = torch.tensor([0.5, 0.5, -0.25]), torch.tensor([0, 0, 2])
    assert response_coefficients(gradients, index, 3).tolist() == [0.5, 0.0, -0.25]


@pytest.mark.parametrize(("difference", "is_uniform"), [(1e-6, True), (1e-4, False)])
def test_gradients_may_differ_by_rounding_only(difference, is_uniform):
    gradients = torch.tensor([1.0, 1.0 + difference], dtype=torch.float64)
    found = response_coefficients(gradients, torch.tensor([0, 0]), 1)
    assert (found is not None) == is_uniform
