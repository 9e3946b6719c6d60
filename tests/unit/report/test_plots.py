"""The style of plots, and what is shown on them."""

import plotly.graph_objects as go

from preflens.report.plots import MAX_POINTS, hover_text, plot, thinned
from tests.support.pages import traces_of


def test_a_plot_is_a_piece_of_html_without_the_library():
    html = plot(go.Figure(go.Scatter(x=[1, 2], y=[3, 4])), name="one", height=200)
    assert 'id="plot-one"' in html
    assert len(html) < 20_000
    assert traces_of(html, "one")[0]["y"] == [3, 4]


def test_hover_text_is_one_escaped_line_of_limited_length():
    assert hover_text("a\n <b>") == "a &lt;b&gt;"
    assert hover_text("x" * 10, limit=4) == "xxx…"
    assert hover_text("\u202e") == "<U+202E>".replace("<", "&lt;").replace(">", "&gt;")


def test_few_points_are_all_drawn_and_many_are_thinned_evenly():
    assert thinned(0) == []
    assert thinned(3) == [0, 1, 2]
    assert thinned(2 * MAX_POINTS) == list(range(0, 2 * MAX_POINTS, 2))
    assert len(thinned(2 * MAX_POINTS + 1)) <= MAX_POINTS
