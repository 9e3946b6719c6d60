"""The panel of the verdict, on both pages."""

from preflens.records.common import Estimate
from preflens.records.comparison_metadata import MeanChange
from preflens.report.panels.verdict import verdict
from preflens.report.render import report_html
from tests.cases.records import analysis, comparison, objective, summary
from tests.support.pages import section_of, text_of


def test_an_analysis_has_a_card_for_each_direction_of_step():
    record = analysis(objectives=(summary(), summary("ipo", same_direction_as="dpo"), summary("slic")))
    assert [card["labels"] for card in verdict(record).values["cards"]] == [("dpo", "ipo"), ("slic",)]


def test_a_card_has_the_colour_of_the_direction_of_the_chosen_mean():
    assert '<div class="card rises">' in section_of(report_html(analysis()), "verdict")
    assert '<div class="card falls">' in section_of(report_html(comparison()), "verdict")


def test_a_comparison_has_one_card_without_a_colour_where_objectives_differ():
    up = MeanChange(Estimate(0.2, 0.1, 0.3), Estimate(0.0, -0.1, 0.1), Estimate(0.2, 0.1, 0.3))
    (card,) = verdict(comparison(objectives=(objective(), objective("sft", heldout=up)))).values["cards"]
    assert card["direction"] == ""
    assert [way for way, _ in card["parts"]] == ["rises", "falls"]


def test_each_page_has_its_own_explanation():
    assert "All pairs of an update batch" in text_of(section_of(report_html(analysis()), "verdict"))
    assert "Held-out pairs never step" in text_of(section_of(report_html(comparison()), "verdict"))
