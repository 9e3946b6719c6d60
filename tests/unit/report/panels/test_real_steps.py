"""The panel of forecasts and measurements, on both pages."""

from preflens.report.panels.real_steps import real_steps
from preflens.report.render import report_html
from tests.cases.records import analysis, comparison
from tests.support.pages import section_of, table_of, traces_of


def test_without_real_steps_there_is_no_section():
    assert real_steps(analysis(verification=())) is None
    assert real_steps(comparison(real_steps=())) is None


def test_points_are_measured_against_predicted_changes_by_side():
    chosen, rejected, equal = traces_of(real_steps(analysis()).values["forecast"], "forecast")
    assert (chosen["x"], chosen["y"]) == ([0.01, 0.03], [0.011, 0.031])
    assert (rejected["x"], rejected["y"]) == ([-0.02, -0.04], [-0.021, -0.041])
    assert equal["x"] == equal["y"] == [-0.04, 0.03]


def test_a_comparison_draws_its_held_out_pairs_the_same_way():
    chosen, rejected, _ = traces_of(real_steps(comparison()).values["forecast"], "forecast")
    assert (chosen["x"], chosen["y"]) == ([0.01, 0.02], [0.011, 0.021])
    assert (rejected["x"], rejected["y"]) == ([-0.03, -0.04], [-0.031, -0.041])


def test_the_error_of_the_rollout_is_drawn_in_percent():
    (curve,) = traces_of(real_steps(comparison()).values["rollout"], "rollout-errors")
    assert (curve["x"], curve["y"]) == ([1, 10], [None, 12.5])
    assert real_steps(analysis()).values["rollout"] is None


def test_the_table_of_each_page_has_the_measures_of_its_command():
    assert table_of(section_of(report_html(analysis()), "real_steps")) == [
        ["objective", "steps", "slope", "correlation", "signs right", "rounding floor, nats"],
        ["dpo", "1", "1.0250", "0.9999", "100.0 %", "1e-06"],
    ]
    assert table_of(section_of(report_html(comparison()), "real_steps")) == [
        ["small step", "update batch", "step size", "R² chosen", "R² rejected", "R² margin"],
        ["dpo", "0", "0.1", "0.99000", "0.98000", "0.97000"],
    ]
