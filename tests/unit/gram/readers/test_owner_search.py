"""Which module each parameter is read off."""

import pytest
from torch import nn

from preflens.errors import InputError, UnsupportedModelError
from preflens.gram.readers.owner_search import PLACES, find_owners, is_active_dropout, is_inside, owner_path


def tied():
    module = nn.Module()
    module.embed, module.head, module.frozen = nn.Embedding(4, 3), nn.Linear(3, 4), nn.Linear(3, 3)
    module.head.weight = module.embed.weight
    module.frozen.requires_grad_(False)
    return module


def test_a_parameter_belongs_to_every_module_that_owns_it():
    module = tied()
    owners = find_owners(module, dropout=False)
    assert owners.parameters == {
        module.embed: {"weight": module.embed.weight},
        module.head: {"weight": module.embed.weight, "bias": module.head.bias},
    }
    assert owners.names == {module.embed: "embed", module.head: "head"}
    assert owners.single == {module.head.bias}
    assert owners.parameter_names == {module.embed.weight: "embed.weight", module.head.bias: "head.bias"}
    assert [block.name for block in owners.blocks] == ["embed + head", "head"]


def test_a_place_moves_a_parameter_and_hides_uses_inside_of_it():
    module = nn.ModuleDict({"outer": tied()})
    PLACES[module] = {"outer.embed.weight": "outer"}
    owners = find_owners(module, dropout=False)
    outer = module["outer"]
    assert owners.parameters[outer] == {"embed.weight": outer.embed.weight}
    assert outer.embed not in owners.parameters
    assert owners.parameters[outer.head] == {"bias": outer.head.bias}  # its use of the weight lies within outer
    assert outer.embed.weight in owners.single


def test_paths():
    assert owner_path("a.b.weight") == "a.b"
    assert owner_path("weight") == ""
    assert is_inside("a.b", "a")
    assert is_inside("a", "")
    assert not is_inside("a", "a")
    assert not is_inside("ab", "a")


def test_active_dropout_and_batch_statistics_are_refused_by_name():
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train()
    assert [is_active_dropout(m) for m in module] == [False, True]
    with pytest.raises(InputError, match="Dropout is active in `1`"):
        find_owners(module, dropout=False)
    assert find_owners(module, dropout=True).parameters
    assert not any(map(is_active_dropout, module.eval().modules()))
    with pytest.raises(UnsupportedModelError, match="`1` .a `BatchNorm1d` in training mode."):
        find_owners(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train(), dropout=True)


def test_what_is_known_to_be_idle_is_known_in_every_pass():
    module = tied()
    find_owners(module, dropout=False).idle.add(module.head.bias)
    assert find_owners(module, dropout=False).idle == {module.head.bias}
