"""Outputs of a forward pass: log-probs, and inputs of a head."""

import pytest
import torch

from preflens.errors import InputError, NonFiniteLogpError
from preflens.gram.capture.forward import ForwardOutput, check_finite
from preflens.types import HeadInput, TokenRows


def head(**changes):
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 2, generator=draw).double().requires_grad_()
    weight = torch.randn(4, 2, generator=draw).double()
    return HeadInput(hidden, weight, torch.tensor([1, 0, 3]), torch.tensor([0, 0, 1]), responses=2, **changes)


def expected(h):
    logps = torch.log_softmax(h.hidden @ h.weight.T, 1)
    return torch.stack([logps[0, 1] + logps[1, 0], logps[2, 3]])


def test_log_probs_of_a_head_are_sums_of_log_softmaxes_with_and_without_graph():
    output = ForwardOutput(head())
    torch.testing.assert_close(output.logps(), expected(head()))
    assert output.logps().requires_grad
    torch.testing.assert_close(output.detached_logps(), expected(head()).detach())
    assert not output.detached_logps().requires_grad
    assert output.responses == 2
    assert output.head is output.result
    assert output.root is output.result.hidden


def test_log_probs_are_passed_on_as_they_are():
    logps = torch.tensor([-1.0, -2.0], requires_grad=True)
    output = ForwardOutput(logps)
    assert output.logps() is output.root is logps
    assert output.head is None
    assert output.responses == 2
    assert output.device == logps.device
    assert output.detached_logps().dtype == torch.float64
    assert output.layout(equal_inputs=True).chosen is None


def test_the_layout_comes_from_the_rows_of_a_head_and_shares_nothing_under_dropout():
    rows = TokenRows(torch.tensor([2, 2]), torch.tensor([40, 50]), torch.tensor([7]), 64)
    layout = ForwardOutput(head(rows=rows)).layout(equal_inputs=True)
    assert (layout.chosen, layout.rejected, layout.shared, layout.width) == ((2, 50), (2, 50), 7, 64)
    assert ForwardOutput(head(rows=rows)).layout(equal_inputs=False).shared == 0


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_number_of_responses_that_are_no_pairs_is_refused(count):
    with pytest.raises(InputError, match=rf"as many rejected as chosen ones. Found shape \({count},\)"):
        ForwardOutput(torch.zeros(count))


def test_a_log_prob_that_is_not_finite_is_refused_by_its_row():
    check_finite(torch.tensor([-1.0, -2.0]))
    with pytest.raises(NonFiniteLogpError) as error:
        check_finite(torch.tensor([-1.0, float("nan"), -torch.inf, -1.0]))
    assert error.value.row == 1
