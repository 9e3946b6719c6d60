"""Partitions of trainable parameters."""

import pytest
from torch import nn

from preflens.errors import InputError
from preflens.gram.blocks import block_names, parameter_blocks


def model():
    module = nn.Module()
    module.embed = nn.Embedding(3, 2)
    module.layers = nn.ModuleList([nn.ModuleDict({"q": nn.Linear(2, 2), "k": nn.Linear(2, 2)}) for _ in range(2)])
    module.head = nn.Linear(2, 3, bias=False)
    module.head.weight = module.embed.weight
    module.gain = nn.Parameter(module.head.weight.detach().clone())
    return module


def names(by):
    return [block.name for block in parameter_blocks(model(), by)]


def test_layers_end_at_the_first_number_and_tied_weights_name_all_owners():
    assert names("layer") == ["(root)", "embed + head", "layers.0", "layers.1"]
    assert names("module") == ["(root)", "embed + head", "layers.0.q", "layers.0.k", "layers.1.q", "layers.1.k"]
    assert names(None) == ["all"]


@pytest.mark.parametrize("by", ["layer", "module", None])
def test_every_trainable_parameter_is_in_one_block(by):
    module = model()
    module.layers[0].requires_grad_(False)
    blocks = parameter_blocks(module, by)
    members = [p for block in blocks for p in block.parameters]
    assert len(members) == len(set(members)) == 6
    assert all(p.requires_grad for p in members)


def test_a_gram_without_blocks_has_no_names():
    blocks = parameter_blocks(model(), None)
    assert block_names(blocks, None) is None
    assert block_names(blocks, "module") == ("all",)


def test_a_model_without_trainable_parameters_is_refused():
    with pytest.raises(InputError, match="No parameter has `requires_grad`, so there is no gradient"):
        parameter_blocks(model().requires_grad_(False), "layer")
