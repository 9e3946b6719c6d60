"""Laws of the documentation: links lead somewhere, named files exist, examples run, sentences are short."""

import doctest
import re
from pathlib import Path

import pytest

from preflens.report.terms import TERMS
from tests.support.markdown import anchors, code_spans, links, sentences

ROOT = Path(__file__).parents[2]
PAGES = sorted([
    *ROOT.glob("*.md"),
    *(p for d in ("docs", "experiments", "benchmarks") for p in (ROOT / d).rglob("*.md")),
])
# Written by hand: pages that are generated have the sentences of docstrings, the changelog is a list.
PROSE = [p for p in PAGES if p.name not in {"CHANGELOG.md", "objectives.md", "papers.md", "CONTRIBUTING.md"}]
LONGEST = 36  # words of a sentence, a formula counting by its spaces
# What a code span may be a path from.
BASES = (ROOT, ROOT / "docs", ROOT / "src" / "preflens")

every_page = pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
every_prose = pytest.mark.parametrize("page", PROSE, ids=[str(p.relative_to(ROOT)) for p in PROSE])


@every_page
def test_every_relative_link_leads_to_a_file_and_to_a_heading_of_it(page):
    for target in links(page.read_text(encoding="utf-8")):
        name, _, fragment = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if fragment:
            assert fragment in anchors(file.read_text(encoding="utf-8")), target


def paths_named(text):
    """Code spans that are paths of the repository: they begin with one of its folders, or end like a source file."""
    folders = {p.name for base in BASES for p in base.iterdir() if p.is_dir() and not p.name.startswith((".", "_"))}
    spans = [span for span in code_spans(text) if re.fullmatch(r"[\w./-]+", span) and not re.search(r"NAME|FILE", span)]
    return [s for s in spans if s.endswith(".py") or ("/" in s and s.split("/")[0] in folders)]


@every_page
def test_every_file_that_is_named_exists(page):
    for name in paths_named(page.read_text(encoding="utf-8")):
        places = [base / name for base in (*BASES, page.parent)] + list((ROOT / "src").rglob(name))
        assert any(place.exists() for place in places), name


def test_the_pages_do_name_files():
    assert "gram/brute_force.py" in paths_named((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))


@every_page
def test_examples_with_results_have_these_results(page):
    assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_the_idea_has_examples():
    assert doctest.testfile(str(ROOT / "docs" / "the-idea.md"), module_relative=False).attempted > 10


@every_prose
def test_sentences_are_short(page):
    long = [s for s in sentences(page.read_text(encoding="utf-8")) if len(s.split()) > LONGEST]
    assert long == []


def test_the_glossary_defines_the_terms_of_the_report_in_the_same_words():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for name, definition in TERMS.items():
        assert f"## {name}\n\n{definition}\n" in text


def test_every_page_is_linked_from_the_readme_or_from_a_page_that_is():
    linked, queue = set(), [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        linked.add(page)
        targets = {(page.parent / t.partition("#")[0]).resolve() for t in links(page.read_text(encoding="utf-8"))}
        queue += [t for t in targets if t.suffix == ".md" and t not in linked and t.exists()]
    assert set(PAGES) - linked == set()
