"""Schedules of objectives, as texts and as stages."""

import pytest

from preflens.errors import InputError
from preflens.objectives import dpo, sft
from preflens.objectives.schedule import schedule


def test_a_switch_happens_at_its_step():
    stages = schedule("sft -> dpo:beta=0.5 @ 10 -> ipo @ 20")
    assert [stages.at(step).name for step in (0, 9, 10, 19, 20, 99)] == ["sft", "sft", "dpo", "dpo", "ipo", "ipo"]
    assert stages.at(10).parameters == {"beta": 0.5}
    assert [objective.name for objective in stages.objectives] == ["sft", "dpo", "ipo"]


def test_a_ramp_interpolates_linearly_between_its_stages():
    stages = schedule("sft => dpo @ 4")
    assert [[w for w, _ in stages.at(step).terms] for step in (1, 2, 3)] == [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]]
    assert stages.at(0).name == "sft"
    assert stages.at(4).name == "dpo"


def test_one_objective_is_a_schedule_of_one_stage():
    assert schedule(dpo()).at(1000).name == "dpo"
    assert schedule([(0, sft()), (5, "dpo")]).at(5).name == "dpo"


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("sft -> dpo", "should read like `sft -> dpo @ 100`"),
        ("sft @ 3", "a step after every objective but the first"),
        ("sft -> dpo @ 5 => ipo @ 9", "either switches"),
        ([(1, "dpo")], r"begin at step 0 and ascend. Found steps \[1\]"),
        ([(0, "dpo"), (5, "sft"), (5, "ipo")], "ascend"),
        ([], "ascend"),
    ],
)
def test_steps_and_forms_are_checked(stages, message):
    with pytest.raises(InputError, match=message):
        schedule(stages)
