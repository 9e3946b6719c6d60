"""Steps that are taken and undone."""

import pytest
import torch
from torch import nn

from preflens.analysis.measurement.real_steps import in_float32, measure_change, plain_update, stepped, walking
from preflens.types import PairCoefficients


@pytest.fixture
def linear():
    return nn.Linear(3, 1).double()


def coefficients(*values):
    half = len(values) // 2
    return PairCoefficients(*(torch.tensor(v, dtype=torch.float64) for v in (values[:half], values[half:])))


def test_the_update_is_the_negative_gradient_of_the_mean_loss(linear):
    x = torch.randn(4, 3, dtype=torch.float64)
    forwards = [lambda: linear(x[[0, 2]]).squeeze(1), lambda: linear(x[[1, 3]]).squeeze(1)]
    update = plain_update(linear, forwards, [coefficients(0.5, 0.3), coefficients(0.2, -0.1)])
    expected = (0.5 * x[0] - 0.3 * x[2] + 0.2 * x[1] + 0.1 * x[3]) / 2
    torch.testing.assert_close(update[0][0], expected)
    assert linear.weight.grad is None


def test_a_measured_change_of_a_linear_model_is_exact(linear):
    x = torch.randn(4, 3, dtype=torch.float64)
    update = [torch.randn(1, 3, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)]
    change = measure_change(linear, [lambda: linear(x).squeeze(1)], update, learning_rate=0.1)
    expected = 0.1 * x @ update[0][0]
    torch.testing.assert_close(torch.cat([change.chosen, change.rejected]), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_weights_come_back_bit_for_bit_also_after_an_error(dtype):
    model = nn.Linear(7, 5).to(dtype)
    before, storage = model.weight.detach().clone(), model.weight.data_ptr()
    update = [torch.randn_like(p, dtype=torch.float32) for p in model.parameters()]
    with pytest.raises(RuntimeError), in_float32(model), stepped(model, update, learning_rate=0.1):
        assert not torch.equal(model.weight.to(dtype), before)
        raise RuntimeError
    assert torch.equal(model.weight, before)
    assert model.weight.data_ptr() == storage
    assert model.weight.dtype == dtype


def test_many_steps_below_the_last_digit_of_a_weight_add_up():
    """A weight of 1 in float32 takes no step of 1e-8; ten thousand of them are 1e-4."""
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    before = model.weight.data
    with walking(model) as step:
        for _ in range(10_000):
            step([torch.full((1, 1), 0.5)], 2e-8)
        assert model.weight.item() == pytest.approx(1 + 1e-4, abs=1e-7)
    assert model.weight.data.data_ptr() == before.data_ptr()
    assert model.weight.item() == 1.0


def test_frozen_parameters_do_not_step(linear):
    linear.bias.requires_grad_(False)
    with stepped(linear, [torch.ones(1, 3, dtype=torch.float64)], learning_rate=1.0):
        assert linear.bias.item() == linear.bias.data.item()
    assert (
        len(plain_update(linear, [lambda: linear(torch.ones(2, 3).double()).squeeze(1)], [coefficients(1.0, 1.0)])) == 1
    )


def test_half_precision_is_widened_for_a_while_and_full_precision_left_alone():
    model = nn.Sequential(nn.Linear(2, 2).bfloat16(), nn.Linear(2, 2))
    model.register_buffer("scale", torch.ones(1, dtype=torch.float16))
    with in_float32(model):
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert model.scale.dtype == torch.float32
    assert [p.dtype for p in model.parameters()] == [torch.bfloat16] * 2 + [torch.float32] * 2
    assert model.scale.dtype == torch.float16
