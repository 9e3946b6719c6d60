"""The panel of the first step of every objective."""

from preflens.records.common import Estimate
from preflens.report.panels.first_step import first_step
from preflens.report.render import report_html
from tests.cases.records import comparison, objective
from tests.support.pages import section_of, table_of, traces_of


def test_a_point_is_the_held_out_chosen_against_the_held_out_rejected_change_per_nat_of_margin():
    (points,) = traces_of(first_step(comparison()).values["plot"], "first_step")
    assert (points["name"], points["x"], points["y"]) == ("lowers chosen", [-1.5], [-0.5])
    assert points["error_y"]["array"] == points["error_y"]["arrayminus"] == [0.25]


def test_objectives_with_the_same_direction_are_one_point_and_one_group_of_rows():
    record = comparison(objectives=(objective(), objective("ipo", same_direction_as="dpo")))
    (points,) = traces_of(first_step(record).values["plot"], "first_step")
    assert points["text"] == ["dpo +1"]
    rows = table_of(section_of(report_html(record), "first_step"))
    assert [row[0] for row in rows] == ["objective", "dpo", "= ipo"]
    assert rows[1][1:] == ["75 %", "−0.5", "−1.5", "−0.5 [−0.75, −0.25]", "−1.5", "−0.2", "−0.6", "+0.4 [+0.3, +0.5]"]
    assert rows[2][4:6] == ["·", "·"]


def test_without_a_number_per_nat_of_margin_a_sentence_stands_in_place_of_the_plot():
    nothing = Estimate(None)
    record = comparison(
        objectives=(objective(chosen_per_margin=nothing, rejected_per_margin=nothing, margin_scale=None),)
    )
    assert first_step(record).values["plot"] is None
    assert "there is nothing to plot" in section_of(report_html(record), "first_step")
    assert "there is nothing to plot" not in section_of(report_html(comparison()), "first_step")
