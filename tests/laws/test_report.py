"""Laws of the page: every panel renders for every analysis; texts stay texts; nothing comes from outside."""

import re
from html.parser import HTMLParser

import pytest

from preflens.report.comparison import comparison_html
from preflens.report.comparison_panels import COMPARISON_PANELS
from preflens.report.panels import PANELS
from preflens.report.render import report_html
from tests.cases.analyses import ANALYSES, HOSTILE
from tests.cases.comparisons import COMPARISONS

every_analysis = pytest.mark.parametrize("name", ANALYSES)
every_page = pytest.mark.parametrize(
    "make",
    [lambda make=make: (report_html, PANELS, make()) for make in ANALYSES.values()]
    + [lambda make=make: (comparison_html, COMPARISON_PANELS, make()) for make in COMPARISONS.values()],
    ids=[*ANALYSES, *(f"comparison, {name}" for name in COMPARISONS)],
)


class Page(HTMLParser):
    """Collects tags with their attributes, and text outside of scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._inside = [], [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in {"script", "style"} else None

    def handle_endtag(self, tag):  # noqa: ARG002  # the name is given
        self._inside = None

    def handle_data(self, data):
        if self._inside is None:
            self.text.append(data)


@every_page
def test_every_panel_renders(make):
    html, panels, found = make()
    page = Page(html(found))
    titles = [section.title for panel in panels.values() if (section := panel(found)) is not None]
    text = " ".join(page.text)
    assert all(title in text for title in titles)
    assert [t for t, _ in page.tags].count("section") == len(titles)


@every_page
def test_a_page_asks_for_nothing_from_outside(make):
    html, _, found = make()
    page = Page(html(found))
    asking = [
        (t, a) for t, a in page.tags if {"src", "srcset", "data", "action"} & set(a) or t in {"link", "iframe", "base"}
    ]
    assert asking == []
    assert all(a.get("href", "#").startswith("#") for _, a in page.tags)
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy


@pytest.mark.parametrize(("make", "cases"), [(report_html, ANALYSES), (comparison_html, COMPARISONS)])
def test_texts_of_data_and_model_cannot_leave_their_place(make, cases):
    html = make(cases["hostile"]())
    page = Page(html)
    assert not any("onerror" in a or a.get("src") == "x" for _, a in page.tags)
    scripts = [t for t, _ in page.tags].count("script")
    assert scripts == [t for t, _ in Page(make(cases["typical"]())).tags].count("script")
    assert "alert(1)</script>" not in html.split("<body>")[1]
    shown = " ".join(page.text)
    assert HOSTILE.split()[0] in shown
    assert "{{ 7*7 }}" in shown
    assert "49" not in re.findall(r"alert\(2\)> (\S+) ", shown)


def test_hover_labels_are_escaped_for_plotly_too():
    html = report_html(ANALYSES["hostile"]())
    geometry = html[html.index('id="plot-geometry"') :].split("</section>")[0]
    assert "&lt;script&gt;alert(1)" in geometry
    assert r"\u003cscript" not in geometry
    html = comparison_html(COMPARISONS["hostile"]())
    for name in ("first-step", "rollout", "real-steps"):
        drawn = html[html.index(f'id="plot-{name}"') :].split("</section>")[0]
        assert "&lt;script&gt;alert(1)" in drawn
        assert r"\u003cscript" not in drawn


@every_page
def test_every_plot_and_number_has_a_sentence_on_how_to_read_it(make):
    html, _, found = make()
    sections = re.findall(r"<section.*?</section>", html(found), re.S)
    assert all("How to read this" in s for s in sections if "plotly-graph-div" in s)


@every_page
def test_a_page_is_the_same_every_time(make):
    html, _, found = make()
    assert html(found) == html(found)


@pytest.mark.parametrize(
    "make",
    [lambda: report_html(ANALYSES["without values"]()), lambda: comparison_html(COMPARISONS["without values"]())],
)
def test_missing_values_are_said_to_be_missing(make):
    text = " ".join(Page(make()).text)
    assert "nan" not in text.lower().split()
    assert "None" not in text.split()
    assert "n/a" in text
