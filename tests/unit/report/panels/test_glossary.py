"""The folded glossary of a page."""

from preflens.report.render import report_html
from preflens.report.terms import TERMS
from tests.cases.records import analysis, comparison
from tests.support.pages import section_of, text_of


def test_both_pages_define_every_term_under_an_anchor():
    for record in (analysis(), comparison()):
        part = section_of(report_html(record), "glossary")
        assert "<details>" in part
        for name, text in TERMS.items():
            assert f'<dt id="term-{name.lower().replace(" ", "-")}">{name}</dt>' in part
            assert text in text_of(part)
