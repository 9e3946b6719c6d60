"""Which objectives are compared, with which mitigations, and whose steps are verified."""

import pytest

from preflens.analysis.comparison.selection import choose_objectives, choose_verified
from preflens.errors import InputError, ObjectiveError
from preflens.objectives import OBJECTIVES


@pytest.mark.parametrize(
    ("objectives", "grid", "expected"),
    [
        (("dpo", "slic"), ("dpo.beta=0.1,1",), ["dpo", "dpo+cone", "dpo:beta=1", "slic", "slic+cone"]),
        (("dpo:beta=1",), ("dpo.beta=0.5,1",), ["dpo:beta=1", "dpo:beta=1+cone", "dpo:beta=0.5"]),
        ((), ("dpo.beta=0.1,1",), ["dpo", "dpo+cone", "dpo:beta=1"]),
        (("slic",), ("dpo.beta=0.1,1",), ["slic", "slic+cone", "dpo", "dpo:beta=1"]),
    ],
)
def test_a_grid_takes_no_mitigation_from_what_is_named(objectives, grid, expected):
    choice = choose_objectives(objectives, grid, reference="self").with_mitigations(["cone"])
    assert list(choice.objectives) == expected
    assert list(choice.mitigations) == [label for label in expected if "+" in label]


def test_all_with_a_grid_keeps_the_mitigation_of_dpo():
    choice = choose_objectives(["all"], ["dpo.beta=0.01,0.1"], reference="self").with_mitigations(["cone"])
    assert list(choice.mitigations) == ["dpo+cone"]


def test_all_leaves_out_what_needs_a_reference_where_there_is_none():
    choice = choose_objectives(["all"], [], reference="none")
    needing = {name for name, make in OBJECTIVES.items() if make().needs_reference}
    assert needing <= set(choice.left_out)
    assert not needing & set(choice.objectives)
    assert set(choice.objectives) | set(choice.left_out) == set(OBJECTIVES)
    assert choice.unnamed == set(choice.objectives)


def test_a_name_selects_all_points_of_its_objective_for_verification():
    choice = choose_objectives(["slic"], ["dpo.beta=0.1,1"], reference="self").with_mitigations(["cone"])
    assert list(choose_verified(["dpo"], choice)) == ["dpo", "dpo:beta=1"]
    assert list(choose_verified(["dpo:beta=1"], choice)) == ["dpo:beta=1"]
    assert list(choose_verified(["all"], choice)) == ["slic", "dpo", "dpo:beta=1"]
    assert choose_verified([], choice) == {}
    with pytest.raises(InputError, match=r"`verify_objectives=slic\+cone` is none of the compared"):
        choose_verified(["slic+cone"], choice)


def test_a_text_is_not_a_list_of_objectives():
    with pytest.raises(ObjectiveError, match="should be a list of names. Found the text `dpo`"):
        choose_objectives("dpo", [], reference="self")
