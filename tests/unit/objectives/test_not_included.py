"""Objectives that are left out."""

from preflens.objectives.not_included import NOT_INCLUDED
from preflens.objectives.table import OBJECTIVES


def test_what_is_left_out_has_a_reason_and_is_in_no_table():
    assert "tdpo" in NOT_INCLUDED
    assert all(len(reason) > 40 and reason.endswith(".") for reason in NOT_INCLUDED.values())
    assert not set(NOT_INCLUDED) & set(OBJECTIVES)
