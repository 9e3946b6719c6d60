"""Laws of the page: every panel renders for every analysis; texts stay texts; nothing comes from outside."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from preflens.records.visible_characters import right_to_left, visible
from preflens.report.panels import sections
from preflens.report.render import report_html
from tests.cases.analyses import ANALYSES, HIDDEN, HOSTILE
from tests.cases.comparisons import COMPARISONS

RECORDS = ANALYSES | {f"comparison, {name}": make for name, make in COMPARISONS.items()}
every_page = pytest.mark.parametrize("make", RECORDS.values(), ids=RECORDS)
both_kinds = pytest.mark.parametrize("cases", [ANALYSES, COMPARISONS], ids=["analysis", "comparison"])


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
    page = Page(report_html(make()))
    titles = [section.title for section in sections(make()).values()]
    text = " ".join(page.text)
    assert all(title in text for title in titles)
    assert [t for t, _ in page.tags].count("section") == len(titles)


@both_kinds
def test_a_page_says_the_real_sizes_of_the_update_batches(cases):
    assert "3 update batches of 2 pairs" in " ".join(" ".join(Page(report_html(cases["typical"]())).text).split())


@every_page
def test_a_page_asks_for_nothing_from_outside(make):
    page = Page(report_html(make()))
    asking = [
        (t, a) for t, a in page.tags if {"src", "srcset", "data", "action"} & set(a) or t in {"link", "iframe", "base"}
    ]
    assert asking == []
    assert all(a.get("href", "#").startswith("#") for _, a in page.tags)
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy


@both_kinds
def test_texts_of_data_and_model_cannot_leave_their_place(cases):
    html = report_html(cases["hostile"]())
    page = Page(html)
    assert not any("onerror" in a or a.get("src") == "x" for _, a in page.tags)
    scripts = [t for t, _ in page.tags].count("script")
    assert scripts == [t for t, _ in Page(report_html(cases["typical"]())).tags].count("script")
    assert "alert(1)</script>" not in html.split("<body>")[1]
    shown = " ".join(page.text)
    assert HOSTILE.split()[0] in shown
    assert "{{ 7*7 }}" in shown
    assert "49" not in re.findall(r"alert\(2\)> (\S+) ", shown)


@both_kinds
def test_texts_from_left_to_right_cannot_leave_their_place_either(cases):
    """Those from right to left are isolated, which escapes them by itself."""
    text, record = "<b>name</b><img src=x onerror=alert(2)>", cases["typical"]()
    data = replace(record.metadata.data, source=text, dropped={text: 2}, noted={text: 1})
    metadata = replace(record.metadata, data=data, model=replace(record.metadata.model, name=text, selection=text))
    page = Page(report_html(replace(record, metadata=metadata)))
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert text in " ".join(page.text)


@both_kinds
def test_hidden_characters_of_data_and_model_are_spelt_out_everywhere(cases):
    html = report_html(cases["hostile"]())
    ours = html.split("<title>")[1].split("</title>")[0] + html.split("<body>")[1]
    for character in {*HIDDEN, "\u2028"} - set("[31m"):
        assert character not in ours
        assert f"\\u{ord(character):04x}" not in ours.lower()  # as scripts spell it
        assert visible(character).replace("<", "&lt;").replace(">", "&gt;") in ours


@both_kinds
def test_texts_from_right_to_left_are_isolated_from_what_is_around_them(cases):
    page = Page(report_html(cases["hostile"]()))
    shown = [(tags, text) for tags, text in page.within if right_to_left(text)]
    assert len(shown) > 10
    assert [(tags, text) for tags, text in shown if not {"bdi", "title"} & set(tags)] == []
    assert not any("<bdi>" in text for text in page.text)


def test_hover_labels_are_escaped_for_plotly_too():
    html = report_html(ANALYSES["hostile"]())
    geometry = html[html.index('id="plot-geometry"') :].split("</section>")[0]
    assert "&lt;script&gt;alert(1)" in geometry
    assert r"\u003cscript" not in geometry
    html = report_html(COMPARISONS["hostile"]())
    for name in ("first_step", "rollouts", "rollout-errors"):
        drawn = html[html.index(f'id="plot-{name}"') :].split("</section>")[0]
        assert "&lt;script&gt;alert(1)" in drawn
        assert r"\u003cscript" not in drawn


@every_page
def test_every_plot_and_number_has_a_sentence_on_how_to_read_it(make):
    parts = re.findall(r"<section.*?</section>", report_html(make()), re.S)
    assert all("How to read this" in part for part in parts if "plotly-graph-div" in part)


@every_page
def test_a_page_is_the_same_every_time(make):
    record = make()
    assert report_html(record) == report_html(record)


@every_page
def test_every_link_of_a_page_leads_to_a_place_on_it(make):
    tags = Page(report_html(make())).tags
    places = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(places) == len(set(places))
    targets = {attributes["href"].removeprefix("#") for tag, attributes in tags if tag == "a"}
    assert targets <= set(places)
    assert {"term-nat", "term-margin", "term-step", "data"} <= targets


@both_kinds
def test_missing_values_are_said_to_be_missing(cases):
    text = " ".join(Page(report_html(cases["without values"]())).text)
    assert "nan" not in text.lower().split()
    assert "None" not in text.split()
    assert "n/a" in text
