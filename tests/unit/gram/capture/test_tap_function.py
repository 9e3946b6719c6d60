"""Tensors that a model changes in place after a tap has saved them."""

import pytest
import torch
from torch import nn

from preflens.errors import UnreadableGradientError
from preflens.gram.capture.calls import CHANGED, Keep, Reading
from preflens.gram.capture.tap_function import TapFrame, TapFunction

X = torch.ones(2, 3)


def delivered(keep, change):
    """The call of a doubling module whose output or input is changed in place before the backward pass."""
    calls, module, x = [], nn.Identity(), X.clone()
    output = (2 * x).requires_grad_()
    frame = TapFrame(module, calls.append, lambda _: None, Reading(print, keep), None, [None], [0], None)
    (tapped,) = TapFunction.apply(frame, None, 1, output, x)
    change(tapped, x)
    tapped.sum().backward()
    return calls[0]


def test_the_tap_is_an_identity_whose_gradient_passes_unchanged():
    output = torch.tensor([1.0, -2.0], requires_grad=True)
    frame = TapFrame(nn.Identity(), lambda _: None, lambda _: None, Reading(print, Keep.NOTHING), None, [], [], None)
    (tapped,) = TapFunction.apply(frame, None, 1, output)
    (tapped * torch.tensor([3.0, 5.0])).sum().backward()
    assert torch.equal(tapped, output)
    assert output.grad.tolist() == [3.0, 5.0]


def test_a_copy_of_an_output_outlives_its_change():
    call = delivered(Keep.COPY, lambda tapped, _: tapped.mul_(0))
    assert torch.equal(call.outputs[0], 2 * X)
    assert torch.equal(call.args[0], X)


@pytest.mark.parametrize("keep", [Keep.ALIAS, Keep.NOTHING])
def test_a_changed_input_gives_a_rule_that_refuses(keep):
    call = delivered(keep, lambda _, x: x.mul_(0))
    with pytest.raises(UnreadableGradientError, match="What went into a `Identity` or came out of it is changed") as e:
        call.reading.rule(call, None)
    assert e.value.again == (keep is Keep.ALIAS)  # without the alias the next pass may succeed
    assert (call.module in CHANGED) == (keep is Keep.ALIAS)
