"""Laws of the page: every panel renders for every analysis; texts stay texts; nothing comes from outside."""

import re
from html.parser import HTMLParser

import pytest

from preflens.records.visible_characters import right_to_left, visible
from preflens.report.analysis import PANELS
from preflens.report.comparison import COMPARISON_PANELS
from preflens.report.comparison_page import comparison_html
from preflens.report.render import report_html
from tests.cases.analyses import ANALYSES, HIDDEN, HOSTILE
from tests.cases.comparisons import COMPARISONS

every_analysis = pytest.mark.parametrize("name", ANALYSES)
every_page = pytest.mark.parametrize(
    "make",
    [lambda make=make: (report_html, PANELS, make()) for make in ANALYSES.values()]
    + [lambda make=make: (comparison_html, COMPARISON_PANELS, make()) for make in COMPARISONS.values()],
    ids=[*ANALYSES, *(f"comparison, {name}" for name in COMPARISONS)],
)
hostile = pytest.mark.parametrize(("make", "cases"), [(report_html, ANALYSES), (comparison_html, COMPARISONS)])


class Page(HTMLParser):
    """Collects tags with their attributes, and text outside of scripts and styles with the tags it is within."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.within, self._open = [], [], []
        self.feed(html)

    @property
    def text(self):
        return [text for _, text in self.within]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br", "hr"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.within.append((tuple(self._open), data))


@every_page
def test_every_panel_renders(make):
    html, panels, found = make()
    page = Page(html(found))
    titles = [section.title for panel in panels.values() if (section := panel(found)) is not None]
    text = " ".join(page.text)
    assert all(title in text for title in titles)
    assert [t for t, _ in page.tags].count("section") == len(titles)


@pytest.mark.parametrize(("make", "cases"), [(report_html, ANALYSES), (comparison_html, COMPARISONS)])
def test_a_page_says_the_real_sizes_of_the_update_batches(make, cases):
    assert "3 update batches of 2 pairs" in " ".join(" ".join(Page(make(cases["typical"]())).text).split())


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


@hostile
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


@hostile
def test_hidden_characters_of_data_and_model_are_spelt_out_everywhere(make, cases):
    html = make(cases["hostile"]())
    ours = html.split("<title>")[1].split("</title>")[0] + html.split("<body>")[1]
    for character in {*HIDDEN, "\u2028"} - set("[31m"):
        assert character not in ours
        assert f"\\u{ord(character):04x}" not in ours.lower()  # as scripts spell it
        assert visible(character).replace("<", "&lt;").replace(">", "&gt;") in ours


@hostile
def test_texts_from_right_to_left_are_isolated_from_what_is_around_them(make, cases):
    page = Page(make(cases["hostile"]()))
    shown = [(tags, text) for tags, text in page.within if right_to_left(text)]
    assert len(shown) > 10
    assert [(tags, text) for tags, text in shown if not {"bdi", "title"} & set(tags)] == []
    assert not any("<bdi>" in text for text in page.text)


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
