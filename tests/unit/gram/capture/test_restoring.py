"""State that comes back after a context, also after an error."""

import pytest
import torch
from torch import nn

from preflens.gram.capture.restoring import frozen, replaced_by_noise, same_random_state


def test_frozen_parameters_are_trainable_again_and_frozen_ones_stay_frozen():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    with pytest.raises(RuntimeError, match="inside"), frozen(layer.parameters()):
        assert not any(p.requires_grad for p in layer.parameters())
        raise RuntimeError("inside")
    assert [layer.weight.requires_grad, layer.bias.requires_grad] == [True, False]


def test_the_random_state_comes_back():
    with same_random_state():
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), first)


def test_noise_has_the_size_of_the_parameter_and_the_same_tensor_comes_back():
    p = nn.Parameter(torch.full((100, 100), 3.0, dtype=torch.bfloat16))
    data, state = p.data, torch.get_rng_state()
    with replaced_by_noise([p]):
        assert p.dtype == torch.bfloat16
        assert p.detach().float().square().mean().sqrt().item() == pytest.approx(3.0, rel=0.05)
    assert p.data_ptr() == data.data_ptr()
    assert bool((p == 3).all())
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_for_zeros_is_not_zero():
    p = nn.Parameter(torch.zeros(50))
    with replaced_by_noise([p]):
        assert p.abs().max() > 1e-3
