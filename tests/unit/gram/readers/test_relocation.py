"""Which module takes the place of an owner that does not give its gradients."""

from torch import nn

from preflens.errors import UnreadableGradientError
from preflens.gram.readers.owner_search import PLACES, find_owners
from preflens.gram.readers.relocation import expression_without, relocate


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.proj = nn.Linear(2, 2), nn.Linear(2, 2)


def model():
    module = nn.Module()
    module.layers = nn.ModuleList([Block(), Block()])
    return module


def failure(module, **changes):
    conv = module.layers[0].conv
    return UnreadableGradientError("unreadable", parameters=[conv.weight], **changes)


def test_the_next_module_around_that_is_called_takes_the_place_in_all_layers():
    module = model()
    called = {module.layers[0], module.layers[1], module}
    assert relocate(module, find_owners(module, dropout=False), failure(module), called)
    assert PLACES[module] == {"layers.0.conv.weight": "layers.0", "layers.1.conv.weight": "layers.1"}


def test_where_responses_are_mixed_everything_inside_moves_too():
    module = model()
    called = {module.layers[0], module}
    assert relocate(module, find_owners(module, dropout=False), failure(module, mixed=True), called)
    names = {f"layers.0.{layer}.{name}" for layer in ("conv", "proj") for name in ("weight", "bias")}
    assert PLACES[module] == dict.fromkeys(names, "layers.0")


def test_without_a_module_around_nothing_moves():
    module = model()
    assert not relocate(module, find_owners(module, dropout=False), failure(module), set())
    assert module not in PLACES


def test_the_expression_leaves_out_the_failing_parameters_of_every_layer():
    module = model()
    sentence = expression_without(failure(module), find_owners(module, dropout=False))
    assert r"'^(?!.*(conv\.weight)$)'" in sentence
