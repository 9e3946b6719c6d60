"""Laws of token masks, over the whole table."""

import pytest
import torch

from preflens.mitigations import masked_logps
from preflens.objectives import dpo
from tests.cases.logps import drawn_logps
from tests.cases.mitigations import MASKS, weights_of, with_strength


@pytest.mark.parametrize("text", MASKS)
def test_masks_of_strength_zero_leave_the_loss_as_it_is(text):
    logps = drawn_logps()
    weights, _ = weights_of(with_strength(text, 0), logps)
    assert bool((weights.chosen == 1).all() and (weights.rejected == 1).all())
    masked = masked_logps(logps, weights)
    torch.testing.assert_close(dpo().loss(masked), dpo().loss(logps))


@pytest.mark.parametrize("text", MASKS)
def test_masks_are_continuous_in_strength(text):
    logps = drawn_logps()
    plain = dpo().coefficients(logps)
    weights, _ = weights_of(with_strength(text, 1e-9), logps)
    assert float((weights.chosen - 1).abs().max()) <= 1.1e-9
    torch.testing.assert_close(dpo().coefficients(masked_logps(logps, weights)).chosen, plain.chosen)
