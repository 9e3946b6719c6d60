"""Grids and lists of objectives in words."""

import re

import pytest

from preflens.errors import ObjectiveError
from preflens.objectives.grid import expand_grid, split_objectives


def test_a_grid_is_every_combination_of_one_objectives_values():
    labels = list(expand_grid(["dpo.beta=0.01,0.1", "simpo.beta=1,2", "simpo.gamma=0.5,1"]))
    assert labels == [
        "dpo:beta=0.01", "dpo", "simpo:beta=1,gamma=0.5", "simpo:beta=1", "simpo:gamma=0.5", "simpo"
    ]  # fmt: skip


def test_no_grid_is_no_point():
    assert expand_grid([]) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dpo.bet=1", "has no parameter `bet`. Did you mean `beta`? Known: beta"),
        ("dp.beta=1", "Unknown objective `dp`"),
        ("dpo.beta=-1", "Parameter `beta` of objective `dpo` should be above 0. Found -1"),
        ("dpo.beta=0.1,nan", "should be above 0. Found nan"),
        ("dpo.beta=big", "should be a number. Found `big`"),
        ("dpo.beta=", "`grid=dpo.beta=` is empty"),
        ("dpo.beta=, ,", "is empty"),
        ("dpo.beta", "should read OBJECTIVE.PARAMETER=VALUE,VALUE. Found `dpo.beta`"),
        ("beta=1", "should read OBJECTIVE.PARAMETER"),
        ("dpo@wpo.beta=1", "should vary an entry of the table, without modifiers or sums"),
        ("", "should read OBJECTIVE.PARAMETER"),
    ],
)
def test_a_bad_grid_is_refused(text, message):
    with pytest.raises(ObjectiveError, match=re.escape(message)):
        expand_grid([text])


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(ObjectiveError, match=r"names `dpo\.beta` twice"):
        expand_grid(["dpo.beta=1", "dpo.beta=2"])


def test_a_list_of_objectives_keeps_their_parameters_together():
    assert split_objectives("dpo, simpo:beta=2,gamma=1 ,slic") == ["dpo", "simpo:beta=2,gamma=1", "slic"]
    assert split_objectives("ipo") == ["ipo"]
    assert split_objectives("0.7*dpo+0.3*sft,dpo@ld:alpha=0.3") == ["0.7*dpo+0.3*sft", "dpo@ld:alpha=0.3"]
