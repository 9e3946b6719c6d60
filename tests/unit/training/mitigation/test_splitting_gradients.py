"""Split updates against their formulas, on a function whose gradients are known."""

import pytest
import torch
from torch import nn

from preflens.errors import InputError
from preflens.training.mitigation.splitting_gradients import add_to_first_moment, moved, sequential, virtual_points


def problem(seed=0):
    """Quadratic losses of both sides: g₊ = A θ + a, g₋ = B θ + b."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    a, b = (x @ x.T for x in normal(2, 5, 5))
    parts = {"chosen": (a, normal(5)), "rejected": (b, normal(5))}
    theta = nn.Parameter(normal(5))

    def differentiate(side):
        matrix, vector = parts[side]
        loss = 0.5 * theta @ matrix @ theta + vector @ theta
        loss.backward()
        return loss.detach()

    def gradient(side, at):
        matrix, vector = parts[side]
        return matrix @ at + vector

    return theta, differentiate, gradient


def test_virtual_points_are_the_formula_and_parameters_are_where_they_were():
    theta, differentiate, g = problem()
    before = theta.detach().clone()
    (staged,), (plain,), _ = virtual_points([theta], differentiate, reach=0.1)
    assert torch.equal(theta, before)
    assert theta.grad is None
    plus, minus = g("chosen", before), g("rejected", before)
    torch.testing.assert_close(plain, plus - minus)
    torch.testing.assert_close(staged, g("chosen", before + 0.05 * minus) - g("rejected", before - 0.05 * plus))


def test_virtual_points_descend_the_loss_with_a_penalty_on_entanglement():
    """Exactly, for quadratic losses: the gradient of L + κh/2 ⟨g₊, g₋⟩."""
    theta, differentiate, g = problem()
    (staged,), (plain,), _ = virtual_points([theta], differentiate, reach=0.1)
    at = theta.detach().clone().requires_grad_()
    (penalty,) = torch.autograd.grad(0.05 * (g("chosen", at) @ g("rejected", at)), at)
    torch.testing.assert_close(staged, plain + penalty)


def test_reach_zero_is_the_plain_gradient():
    theta, differentiate, _ = problem()
    (staged,), (plain,), _ = virtual_points([theta], differentiate, reach=0.0)
    assert torch.equal(staged, plain)


@pytest.mark.parametrize("first", ["chosen", "rejected"])
def test_sequential_steps_lead_where_two_steps_lead(first):
    theta, differentiate, g = problem()
    start, h = theta.detach().clone(), 0.1
    (found,), _ = sequential([theta], differentiate, first=first, reach=h)
    signs = {"chosen": -h, "rejected": h}
    second = "rejected" if first == "chosen" else "chosen"
    middle = start + signs[first] * g(first, start)
    end = middle + signs[second] * g(second, middle)
    torch.testing.assert_close(start - h * found, end)
    assert torch.equal(theta, start)


def test_the_mean_of_both_orders_is_the_aggregate_step_with_a_penalty():
    theta, differentiate, g = problem()
    h = 0.1
    orders = [sequential([theta], differentiate, first=side, reach=h)[0][0] for side in ("chosen", "rejected")]
    at = theta.detach().clone().requires_grad_()
    (penalty,) = torch.autograd.grad(h / 2 * (g("chosen", at) @ g("rejected", at)), at)
    plain = g("chosen", theta.detach()) - g("rejected", theta.detach())
    torch.testing.assert_close(sum(orders) / 2, plain + penalty)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_gets_one_gradient_for_each_moment(kind):
    torch.manual_seed(0)
    theta, by_hand = (nn.Parameter(torch.ones(4)) for _ in range(2))
    optimizer = kind([theta], lr=0.1, weight_decay=0)
    m, v = torch.zeros(4), torch.zeros(4)
    for step in range(1, 4):
        plain, staged = torch.randn(2, 4)
        add_to_first_moment(optimizer, [theta], {theta: staged - plain})
        theta.grad = plain
        optimizer.step()
        m, v = 0.9 * m + 0.1 * staged, 0.999 * v + 0.001 * plain**2
        with torch.no_grad():
            by_hand -= 0.1 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    torch.testing.assert_close(theta, by_hand)


def test_optimizers_with_other_moments_are_refused():
    theta = nn.Parameter(torch.ones(2))
    with pytest.raises(InputError, match="adamw_torch"):
        add_to_first_moment(torch.optim.RMSprop([theta]), [theta], {theta: torch.zeros(2)})


def test_moved_parameters_are_put_back_to_the_last_bit_after_an_exception():
    theta = nn.Parameter(torch.tensor([0.1, 0.2]))
    before = theta.detach().clone()
    with pytest.raises(ValueError, match="inside"), moved([theta], [torch.ones(2)], 0.3):
        torch.testing.assert_close(theta.detach(), before + 0.3)
        raise ValueError("inside")
    assert torch.equal(theta.detach(), before)
