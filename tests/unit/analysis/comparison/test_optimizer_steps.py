"""Which gradients an optimizer is asked about, how they are clipped, and which objectives share an update."""

import pytest
import torch

from preflens.analysis.comparison.optimizer_steps import clip_factors, directions, linear_changes, same_start
from preflens.optimizers.settings import OptimizerSettings

GRADIENTS = torch.tensor([[3.0, 0.0, 1.0], [0.0, 4.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.0, 2.0]], dtype=torch.float64)
GRAM = GRADIENTS @ GRADIENTS.T
W = torch.tensor([[0.5, 0.2, -0.5, -0.2], [0.25, 0.1, -0.25, -0.1], [0.5, 0.0, -0.2, -0.2]], dtype=torch.float64)


def test_gradients_are_clipped_as_torch_clips_them():
    for weights in W:
        parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        parameter.grad = -(weights @ GRADIENTS)
        norm = torch.nn.utils.clip_grad_norm_([parameter], 0.3)
        factor = clip_factors(norm[None], OptimizerSettings(max_grad_norm=0.3))
        assert torch.allclose(-(weights @ GRADIENTS) * factor, parameter.grad)
        found = directions(weights[None], GRAM, OptimizerSettings(max_grad_norm=0.3), fresh=True, parameters=3)
        assert torch.allclose(-(found.weights @ GRADIENTS)[0], parameter.grad)


@pytest.mark.parametrize("settings", [OptimizerSettings("plain"), OptimizerSettings(max_grad_norm=0.0)])
def test_nothing_is_clipped_by_plain_descent_or_without_a_limit(settings):
    assert clip_factors(torch.tensor([1e9]).double(), settings).item() == 1


def test_objectives_share_an_update_where_one_positive_factor_holds_for_the_whole_batch():
    rows = torch.cat([W, -W[:1]])
    found = directions(rows, GRAM, OptimizerSettings(), fresh=True, parameters=3)
    assert found.of_objective.tolist() == [0, 0, 1, 2]
    assert same_start([found, found], ["a", "b", "c", "d"]) == (("a", "b"), ("c",), ("d",))


def test_with_a_loaded_state_every_objective_steps_by_itself():
    found = directions(W, GRAM, OptimizerSettings(), fresh=False, parameters=3)
    assert found.of_objective.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("size", "shared"), [(1.0, True), (1e-3, True), (1e-6, False), (1e-9, False)])
def test_small_gradients_share_an_update_only_where_epsilon_leaves_it_alike(size, shared):
    """Gradients of ε's order are not normalised; what is shared is right to a percent at a hundredth of the size."""
    weights = size * W[:2]
    settings = OptimizerSettings(max_grad_norm=0.0)
    found = directions(weights, GRAM, settings, fresh=True, parameters=3)
    assert (found.of_objective[0] == found.of_objective[1]) == shared
    gradients = 0.01 * (weights @ GRADIENTS).abs().amax(1)
    updates = gradients / (gradients + settings.epsilon)
    assert (float((updates[0] / updates[1]).log().abs()) < 0.011) >= shared


def test_linear_optimizers_ask_for_no_update():
    for name in ("sgd", "plain"):
        settings = OptimizerSettings(name, learning_rate=0.1, max_grad_norm=0.5)
        found = directions(W, GRAM, settings, fresh=True, parameters=3)
        assert len(found.weights) == 0
        held_out = torch.tensor([[1.0, -1.0, 2.0]], dtype=torch.float64)
        clipped = W * found.clipping[:, None]
        expected = 0.1 * (clipped @ GRADIENTS) @ held_out.T
        assert torch.allclose(linear_changes(clipped, GRADIENTS @ held_out.T, settings), expected)
