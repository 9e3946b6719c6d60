"""Mean steps on held-out pairs: equal to hand calculation, whichever side is sampled."""

import pytest
import torch

from preflens.analysis.comparison.held_out_changes import step_of_batches, step_of_pairs
from tests.support.drawn import drawn

PLAIN = drawn(2, 4, 2, 3)
SIGNED = drawn(2, 4, seed=1)


def test_a_plain_step_is_the_mean_over_training_pairs_and_held_out_pairs():
    step = step_of_pairs(SIGNED, PLAIN, learning_rate=0.5, prompts=[0, 1, 1, 2], held_out_prompts=[7, 8, 9])
    expected = sum(0.5 / 4 * SIGNED[s, p] * PLAIN[s, p].mean(1) for s in range(2) for p in range(4))
    chosen, rejected, margin = step.estimates
    assert (chosen.value, rejected.value) == pytest.approx(tuple(expected.tolist()))
    assert margin.value == pytest.approx(chosen.value - rejected.value)
    assert not step.by_batch


def test_pairs_of_one_size_of_batch_step_as_their_batches_do():
    one = step_of_pairs(SIGNED, PLAIN, learning_rate=1.0, prompts=range(4), held_out_prompts=range(3))
    changes = torch.einsum("sp,spth->pth", SIGNED, PLAIN).reshape(2, 2, 2, 3).mean(1)
    other = step_of_batches(changes, held_out_prompts=range(3))
    for a, b in zip(one.estimates, other.estimates, strict=True):
        assert a.value == pytest.approx(b.value)
    assert other.by_batch


def test_per_nat_of_margin_chosen_less_rejected_is_one():
    chosen, rejected = step_of_pairs(
        SIGNED, PLAIN, learning_rate=1e-3, prompts=range(4), held_out_prompts=range(3)
    ).per_margin
    assert chosen.value - rejected.value == pytest.approx(1)
