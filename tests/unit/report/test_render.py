"""One function renders the page of every record."""

from preflens.report.panels import COMPARISON_PANELS, PANELS
from preflens.report.render import render_report, report_html
from tests.cases.records import analysis, comparison


def test_the_type_of_the_record_decides_on_the_panels():
    for record, panels in ((analysis(), PANELS), (comparison(), COMPARISON_PANELS)):
        html = report_html(record)
        places = [html.index(f'<section id="{name}"') for name in panels]
        assert places == sorted(places)
        assert html.count("<section id=") == len(panels)


def test_the_title_of_the_page_is_that_of_the_verdict():
    assert "<h1>Will the chosen answers become more likely?</h1>" in report_html(analysis())
    assert "<h1>Which objective suits these pairs?</h1>" in report_html(comparison())


def test_the_page_is_written_to_a_new_folder(tmp_path):
    path = render_report(comparison(), tmp_path / "new" / "page.html")
    assert path == tmp_path / "new" / "page.html"
    assert path.read_text(encoding="utf-8") == report_html(comparison())
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]
