"""The update foretold is the update made, to the last bit, for every kind of optimizer."""

from functools import partial

import pytest
import torch

from preflens.errors import UnsupportedModelError
from preflens.training.probe.optimizer_preview import OptimizerPreview

OPTIMIZERS = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "AdamW, fused": lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True),
    "AdamW, foreach and amsgrad": lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=True, amsgrad=True),
    "Adam with decay": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.1),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-2),
    "SGD, Nesterov": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True, weight_decay=0.1),
    "SGD, maximize": lambda p: torch.optim.SGD(p, lr=1e-2, maximize=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-2),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=1e-2),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=1e-2),
}


def trained(make, steps):
    """Parameters and optimizer after some steps, with the next gradients in place."""
    draw = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(*shape, generator=draw)) for shape in ((4, 3), (3,))]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "weight_decay": 0.0, "lr": 3e-2}]
    optimizer = make(groups)
    for step in range(steps + 1):
        for p in parameters:
            p.grad = torch.randn(p.shape, generator=draw)
        if step < steps:
            optimizer.step()
    return parameters, optimizer


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_foretold_update_is_made(name, steps):
    parameters, optimizer = trained(OPTIMIZERS[name], steps)
    before = [(p.detach().clone(), p.grad.clone()) for p in parameters]
    step = OptimizerPreview(optimizer)
    predicted = [step.update(p) for p in parameters]
    for p, (value, gradient) in zip(parameters, before, strict=True):
        assert torch.equal(p.detach(), value)
        assert torch.equal(p.grad, gradient)
    optimizer.step()
    assert step.matches_update()
    for p, (value, _), update in zip(parameters, before, predicted, strict=True):
        assert torch.equal(p.detach() - value, update)


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_some_rows_at_a_time_are_the_whole_update(name, steps):
    draw = torch.Generator().manual_seed(1)
    parameter = torch.nn.Parameter(torch.randn(1001, 37, generator=draw))  # odd sizes: vector units have leftovers
    optimizer = OPTIMIZERS[name]([parameter])
    for step in range(steps + 1):
        parameter.grad = torch.randn(parameter.shape, generator=draw)
        if step < steps:
            optimizer.step()
    step, before = OptimizerPreview(optimizer), parameter.detach().clone()
    parts = [slice(0, 333), slice(333, 334), slice(334, 1001)]
    predicted = torch.cat([step.update(parameter, rows).clone() for rows in parts])
    plain = torch.cat([step.plain(parameter, rows) for rows in parts])
    assert torch.equal(plain, step.plain(parameter))
    optimizer.step()
    assert step.matches_update()
    assert torch.equal(parameter.detach() - before, predicted)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_parameters_with_other_strides_are_foretold_too(kind, fused):
    draw = torch.Generator().manual_seed(2)
    parameter = torch.nn.Parameter(torch.randn(64, 40, generator=draw).T)
    optimizer = kind([parameter], lr=0.1, fused=fused)
    for taken in (True, False):
        parameter.grad = torch.randn(64, 40, generator=draw).T
        if taken:
            optimizer.step()
    step, before = OptimizerPreview(optimizer), parameter.detach().clone()
    predicted = torch.cat([step.update(parameter, rows).clone() for rows in (slice(0, 30), slice(30, 40))])
    optimizer.step()
    assert step.matches_update()
    torch.testing.assert_close(parameter.detach() - before, predicted, rtol=0, atol=0)


@pytest.mark.parametrize("width", [7, 64, 192])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, partial(torch.optim.SGD, momentum=0.9)])
def test_rows_of_any_width_are_foretold_to_the_last_bit_in_every_precision(kind, dtype, fused, width):
    draw = torch.Generator().manual_seed(3)
    parameter = torch.nn.Parameter(torch.randn(2000, width, generator=draw).to(dtype))
    optimizer = kind([parameter], lr=0.1, fused=fused)
    for taken in (True, True, False):
        parameter.grad = torch.randn(2000, width, generator=draw).to(dtype)
        if taken:
            optimizer.step()
    step, before = OptimizerPreview(optimizer), parameter.detach().clone()
    predicted = torch.cat([step.update(parameter, slice(k, k + 100)).clone() for k in range(0, 2000, 100)])
    optimizer.step()
    assert step.matches_update()
    assert torch.equal(parameter.detach() - before, predicted)


def test_another_update_is_noticed():
    parameters, optimizer = trained(OPTIMIZERS["AdamW"], 1)
    step = OptimizerPreview(optimizer)
    for p in parameters:
        step.update(p)
    optimizer.step()
    with torch.no_grad():
        parameters[1][0] += 1e-6
    assert not step.matches_update()


def test_looking_does_not_change_what_the_optimizer_does():
    watched, alone = (trained(OPTIMIZERS["AdamW"], 2) for _ in range(2))
    for p in watched[0]:
        OptimizerPreview(watched[1]).update(p)
    for parameters, optimizer in (watched, alone):
        optimizer.step()
        for p in parameters:
            p.grad = torch.ones_like(p)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(watched[0], alone[0], strict=True))


def test_the_plain_step_is_the_gradient_times_the_learning_rate_of_its_group():
    parameters, optimizer = trained(OPTIMIZERS["AdamW"], 1)
    step = OptimizerPreview(optimizer)
    torch.testing.assert_close(step.plain(parameters[0]), -1e-2 * parameters[0].grad)
    torch.testing.assert_close(step.plain(parameters[1]), -3e-2 * parameters[1].grad)


def test_parameters_without_a_gradient_or_of_nobody_do_not_move():
    parameters, optimizer = trained(OPTIMIZERS["SGD"], 0)
    parameters[0].grad = None
    step = OptimizerPreview(optimizer)
    for p in (parameters[0], torch.nn.Parameter(torch.ones(2))):
        assert not step.update(p).any()
        assert not step.plain(p).any()


def test_optimizers_that_look_at_the_loss_again_cannot_be_foretold():
    parameters = [torch.nn.Parameter(torch.ones(2))]
    assert not OptimizerPreview(torch.optim.LBFGS(parameters)).supported
    assert OptimizerPreview(torch.optim.SGD(parameters, lr=1.0)).supported


def test_what_is_no_optimizer_is_refused_by_name():
    with pytest.raises(UnsupportedModelError, match="Found `object`"):
        OptimizerPreview(object())
