"""Exceptions of the probe are contained, and named in one line."""

import random
from weakref import ref

import numpy as np
import pytest
import torch

from preflens.errors import UnsupportedModelError
from preflens.training.probe.failsafe import ProbeFailure


def test_random_numbers_that_the_probe_draws_are_not_missed():
    def draw():
        return torch.rand(3).tolist(), random.random(), np.random.rand(2).tolist()

    def drawing():
        draw()
        raise ValueError

    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    expected = draw()
    for part in (draw, drawing):
        torch.set_rng_state(states[0]), random.setstate(states[1]), np.random.set_state(states[2])
        ProbeFailure().attempt(part)
        assert draw() == expected


def test_a_failure_keeps_no_tensor_alive():
    failure, held = ProbeFailure(), []

    def failing():
        activations = torch.ones(3)
        held.append(ref(activations))
        raise MemoryError

    assert failure.attempt(failing) is None
    assert held[0]() is None
    assert failure.attempt(lambda: 1 / 0) is None  # nothing runs any more
    assert str(failure) == "Memory was not enough (MemoryError)."


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UnsupportedModelError("One sentence."), "One sentence."),
        (RuntimeError("one\ntwo"), "RuntimeError: one."),
        (ValueError(), "ValueError."),
        (torch.OutOfMemoryError("20 MiB"), "Memory was not enough (OutOfMemoryError: 20 MiB)."),
    ],
)
def test_the_warning_names_the_cause_in_one_line(error, said):
    failure = ProbeFailure()
    failure.note(error)
    assert str(failure) == said
