"""Laws of the page: every panel renders for every analysis; texts stay texts; nothing comes from outside."""

import re
from html.parser import HTMLParser

import pytest

from preflens.report.panels import PANELS
from preflens.report.render import report_html
from tests.cases.analyses import ANALYSES, HOSTILE

every_analysis = pytest.mark.parametrize("name", ANALYSES)


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


@every_analysis
def test_every_panel_renders(name):
    analysis = ANALYSES[name]()
    page = Page(report_html(analysis))
    titles = [section.title for panel in PANELS.values() if (section := panel(analysis)) is not None]
    text = " ".join(page.text)
    assert all(title in text for title in titles)
    assert [t for t, _ in page.tags].count("section") == len(titles)


@every_analysis
def test_a_page_asks_for_nothing_from_outside(name):
    page = Page(report_html(ANALYSES[name]()))
    asking = [
        (t, a) for t, a in page.tags if {"src", "srcset", "data", "action"} & set(a) or t in {"link", "iframe", "base"}
    ]
    assert asking == []
    assert all(a.get("href", "#").startswith("#") for _, a in page.tags)
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_texts_of_data_and_model_cannot_leave_their_place():
    html = report_html(ANALYSES["hostile"]())
    page = Page(html)
    assert not any("onerror" in a or a.get("src") == "x" for _, a in page.tags)
    scripts = [t for t, _ in page.tags].count("script")
    assert scripts == [t for t, _ in Page(report_html(ANALYSES["typical"]())).tags].count("script") - 0
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


@every_analysis
def test_every_plot_and_number_has_a_sentence_on_how_to_read_it(name):
    html = report_html(ANALYSES[name]())
    sections = re.findall(r"<section.*?</section>", html, re.S)
    assert all("How to read this" in s for s in sections if "plotly-graph-div" in s)


@every_analysis
def test_a_page_is_the_same_every_time(name):
    analysis = ANALYSES[name]()
    assert report_html(analysis) == report_html(analysis)


def test_missing_values_are_said_to_be_missing():
    text = " ".join(Page(report_html(ANALYSES["without values"]())).text)
    assert "nan" not in text.lower().split()
    assert "None" not in text.split()
    assert "n/a" in text
