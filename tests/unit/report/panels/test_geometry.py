"""The panel that draws each pair with the band."""

from math import exp, log

import pytest

from preflens.report.panels.geometry import geometry
from tests.cases.records import analysis, summary
from tests.support.pages import traces_of


def test_a_point_is_the_cosine_against_the_log_of_the_coefficient_ratio_over_the_norm_ratio():
    """Pair a: d_w/d_l = 1 and ‖g_l‖/‖g_w‖ = 1/2. Pair b: d_w/d_l = 2 and ‖g_l‖/‖g_w‖ = 2."""
    points = traces_of(geometry(analysis()).values["plot"], "geometry")[0]
    assert points["x"] == pytest.approx([log(2), 0.0], abs=1e-4)
    assert points["y"] == pytest.approx([0.5, -0.5])


def test_pairs_with_a_negative_coefficient_are_counted_and_not_drawn():
    values = geometry(analysis()).values
    assert values["hidden"] == {"dpo": 1}
    assert (values["drawn"], values["total"]) == (3, 3)


def test_the_edge_of_the_band_is_where_the_cosine_is_exp_of_minus_the_distance_from_zero():
    *_, edge = traces_of(geometry(analysis()).values["plot"], "geometry")
    assert edge["name"] == "edge of the band"
    assert [y for x, y in zip(edge["x"], edge["y"], strict=True) if x == -1.0] == [pytest.approx(exp(-1), abs=1e-4)]


def test_there_is_a_menu_only_for_several_objectives():
    one, two = (geometry(analysis(objectives=o)).values["plot"] for o in ((summary(),), (summary(), summary("ipo"))))
    assert "updatemenus" not in one
    assert "updatemenus" in two
