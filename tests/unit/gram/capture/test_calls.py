"""Calls of modules."""

import torch
from torch import nn

from preflens.gram.capture.calls import CHANGED, Keep, ModuleCall, Reading


def test_a_call_has_no_gradients_and_no_reading_while_it_is_made():
    call = ModuleCall(nn.Identity(), (torch.ones(1),), {}, (torch.ones(1),))
    assert call.gradients == ()
    assert call.reading is None


def test_modules_that_are_gone_are_forgotten():
    module = nn.Identity()
    CHANGED.add(module)
    before = len(CHANGED)
    del module
    assert len(CHANGED) == before - 1


def test_a_reading_names_what_it_needs_of_the_outputs():
    assert Reading(print, Keep.COPY).keep.value == "copies, which the model cannot change in place"
