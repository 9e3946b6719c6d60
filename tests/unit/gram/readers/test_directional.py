"""Directional derivatives against finite differences of the log-probs."""

import pytest
import torch

from preflens.errors import InputError
from preflens.gram import directional_derivatives
from tests.cases.head_model import HeadModel


@pytest.mark.parametrize("way", ["logps", "head_input"])
def test_derivatives_are_the_slopes_of_the_log_probs(way):
    model, step = HeadModel(), 1e-6
    updates = [[torch.randn_like(p) for p in model.parameters()] for _ in range(2)]
    found = directional_derivatives(model, getattr(model, way), updates)
    for row, update in zip(found, updates, strict=True):
        with torch.no_grad():
            values = []
            for sign in (1, -1):
                for p, u in zip(model.parameters(), update, strict=True):
                    p.add_(sign * step * u)
                values.append(model.logps())
                for p, u in zip(model.parameters(), update, strict=True):
                    p.sub_(sign * step * u)
        torch.testing.assert_close(row, (values[0] - values[1]) / (2 * step), rtol=1e-6, atol=1e-8)


def test_frozen_parameters_have_no_update():
    model = HeadModel()
    model.head.requires_grad_(False)
    update = [torch.randn_like(p) for p in model.layer.parameters()]
    both = [directional_derivatives(model, f, [update]) for f in (model.logps, model.head_input)]
    torch.testing.assert_close(*both)
    with pytest.raises(InputError, match="one tensor for each of the 2 trainable parameters.*Found 4 tensors"):
        directional_derivatives(model, model.logps, [[torch.zeros_like(p) for p in model.parameters()]])
