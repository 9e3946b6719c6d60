"""Taps deliver inputs and output gradients together, and leave the model as it was."""

import pytest
import torch
from torch import nn

from preflens.errors import UnreadableGradientError
from preflens.gram.capture.calls import Keep, Reading
from preflens.gram.capture.taps import TapState, taps

X = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def reading(keep=Keep.NOTHING):
    return lambda _call, _state: Reading(print, keep)


def test_a_call_is_delivered_with_its_input_and_the_gradient_of_its_output():
    layer, calls = nn.Linear(2, 1), []
    with taps({layer: reading()}, calls.append, force=False) as state:
        (layer(X).squeeze(1) * torch.tensor([5.0, 7.0])).sum().backward()
    (call,) = calls
    assert call.module is layer
    assert torch.equal(call.args[0], X)
    assert call.gradients[0].tolist() == [[5.0], [7.0]]
    assert call.outputs == ()
    assert state.recorded[layer] == 1
    assert not layer._forward_hooks
    assert layer.weight.grad.tolist() == [[26.0, 38.0]]  # 5·(1, 2) + 7·(3, 4)


def test_outputs_are_kept_as_the_rule_needs_them():
    layer, calls = nn.Linear(2, 1), []
    with taps({layer: reading(Keep.COPY)}, calls.append, force=False):
        output = layer(X)
        output.sum().backward()
    assert torch.equal(calls[0].outputs[0], output.detach())


def test_with_frozen_parameters_forced_taps_are_still_reached():
    layer, calls = nn.Linear(2, 1).requires_grad_(False), []
    with taps({layer: reading()}, calls.append, force=True) as state:
        output = layer(X)
        torch.autograd.grad(output, [state.anchor], torch.ones_like(output), allow_unused=True)
    assert len(calls) == 1


def test_taps_ignore_calls_without_gradients_without_rows_and_when_they_are_off():
    layer, calls = nn.Linear(2, 1), []
    with taps({layer: reading()}, calls.append, force=False) as state:
        with torch.no_grad():
            layer(X)
        layer(X[:0])
        with state.switched_off():
            layer(X).sum().backward()
        state.forward_done = True
        layer(X).sum().backward()
    assert not calls
    assert (state.skipped[layer], state.empty[layer], state.recorded[layer]) == (1, 1, 0)


def test_disabled_taps_stay_disabled():
    state = TapState(None)
    assert not state.inactive
    state.disable()
    with state.switched_off():
        assert state.inactive
    assert state.inactive


def test_a_table_that_is_looked_up_once_is_repeated_for_every_row():
    table, calls = nn.Embedding(4, 2), []
    with taps({table: reading()}, calls.append, force=False) as state:
        state.rows = 3
        output = table(torch.tensor([[0, 1]]))
        (output * torch.arange(3.0)[:, None, None]).sum().backward()
    assert output.shape == (3, 2, 2)
    assert calls[0].args[0].tolist() == [[0, 1]] * 3
    assert table.weight.grad[0].tolist() == [3.0, 3.0]  # 0 + 1 + 2


def test_a_module_without_a_floating_point_output_is_refused():
    class Odd(nn.Module):
        def forward(self, x):
            return x.long()

    odd = Odd()
    with taps({odd: reading()}, lambda _: None, force=True), pytest.raises(UnreadableGradientError, match="`Odd` owns"):
        odd(X)


def test_an_error_of_the_sink_reaches_the_handler_and_the_pass_goes_on():
    layer, errors = nn.Linear(2, 1), []

    def sink(_):
        raise KeyError("broken")

    with taps({layer: reading()}, sink, force=False, on_error=errors.append):
        layer(X).sum().backward()
    assert [type(error) for error in errors] == [KeyError]
    assert layer.weight.grad is not None


def test_a_recognizer_that_fails_leaves_its_module_untapped():
    layer, calls, errors = nn.Linear(2, 1), [], []

    def fails(_call, _state):
        raise ValueError("unknown")

    with taps({layer: fails}, calls.append, force=False, on_error=errors.append):
        layer(X).sum().backward()
        layer(X).sum().backward()
    assert not calls
    assert len(errors) == 1
