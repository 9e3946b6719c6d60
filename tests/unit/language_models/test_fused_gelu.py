"""GPT-2's GELU in one kernel."""

import torch
from transformers.activations import NewGELUActivation

from preflens.language_models.fused_gelu import fused_activations


def test_the_function_is_the_same_and_modules_are_restored():
    module = torch.nn.Sequential(NewGELUActivation(), torch.nn.GELU()).double()
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    expected = 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    with fused_activations(module):
        assert "forward" in vars(module[0])
        assert "forward" not in vars(module[1])
        torch.testing.assert_close(module[0](x), expected)
    assert "forward" not in vars(module[0])


def test_nothing_is_changed_under_gradient_checkpointing():
    module = torch.nn.Sequential(NewGELUActivation())
    module.gradient_checkpointing = True
    with fused_activations(module.train()):
        assert "forward" not in vars(module[0])
    with fused_activations(module.eval()):
        assert "forward" in vars(module[0])
