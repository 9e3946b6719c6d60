"""Terms, their anchors and links."""

import pytest

from preflens.report.terms import TERMS, anchor, term_link


def test_a_link_leads_to_the_anchor_of_its_term_and_shows_the_word_of_the_sentence():
    assert anchor("update batch") == "term-update-batch"
    link = term_link("update batch", "update batches")
    assert link.startswith('<a class="term" href="#term-update-batch" title="The pairs that share one step.')
    assert link.endswith(">update batches</a>")


def test_a_word_that_is_no_term_cannot_be_linked():
    with pytest.raises(KeyError):
        term_link("gain")


def test_every_definition_is_made_of_short_sentences():
    for text in TERMS.values():
        assert text.endswith(".")
        assert all(len(sentence.split()) <= 35 for sentence in text.split(". "))
