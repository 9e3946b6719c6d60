"""Sums over blocks, and what an owner's rule is asked for."""

import torch
from torch import nn

from preflens.gram.capture.calls import ModuleCall
from preflens.gram.capture.taps import TapState
from preflens.gram.readers.owner_search import find_owners
from preflens.gram.rules import recognize
from preflens.gram.rules.any_module import any_module


def model():
    module = nn.Module()
    module.layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2, bias=False)])
    module.layers[1].weight = module.layers[0].weight
    module.out = nn.Linear(2, 1)
    return module


def test_products_of_fine_blocks_add_up_to_those_of_coarser_ones():
    owners = find_owners(model(), dropout=False)
    assert [block.name for block in owners.blocks] == ["layers.0 + layers.1", "layers.0", "out"]
    products = [torch.tensor([1.0]).double(), torch.tensor([2.0]).double(), None]
    values, names = owners.grouped(products, "layer", shape=(1,))
    assert names == ("layers.0 + layers.1", "layers.0", "out")
    assert values.flatten().tolist() == [1.0, 2.0, 0.0]
    total, none = owners.grouped(products, None, shape=(1,))
    assert none is None
    assert total.tolist() == [3.0]
    assert owners.grouped([None] * 3, None, shape=(2,))[0].tolist() == [0.0, 0.0]


def test_names_are_grouped_by_block_if_nothing_else_owns_them():
    module = model()
    owners = find_owners(module, dropout=False)
    assert owners.groups(module.layers[0]) == (("weight",), ("bias",))  # the weight is shared
    assert owners.groups(module.layers[1]) == (("weight",),)
    assert owners.groups(module.out) == (("weight", "bias"),)


def test_only_owners_of_some_blocks_are_kept_and_only_trainable_tensors_are_own():
    module = model()
    owners = find_owners(module, dropout=False)
    number = [block.name for block in owners.blocks].index("out")
    assert set(owners.only([number]).parameters) == {module.out}
    assert owners.trainable(module.out.bias) is module.out.bias
    assert owners.trainable(None) is None
    assert owners.trainable(torch.zeros(1)) is None
    assert owners.trainable(nn.Parameter(torch.zeros(1))) is None


def test_modules_with_parameters_of_inner_modules_are_read_as_a_whole():
    class Uses(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 2)

    module = nn.Sequential(Uses(), nn.Linear(2, 1))
    owners = find_owners(module, dropout=False)
    assert set(owners.recognizers().values()) == {recognize}
    moved = {m: {f"inner.{n}": p for n, p in ps.items()} for m, ps in owners.parameters.items()}
    whole = type(owners)(**{**vars(owners), "parameters": moved}).recognizers()
    call = ModuleCall(module[0], (), {}, ())
    assert all(find(call, TapState(None)).rule is any_module for find in whole.values())
