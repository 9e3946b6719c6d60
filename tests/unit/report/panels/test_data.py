"""The panel of data and model, on both pages."""

from preflens.report.render import report_html
from tests.cases.records import analysis, comparison
from tests.support.pages import section_of, text_of


def shown(record):
    return text_of(section_of(report_html(record), "data"))


def test_an_analysis_lists_its_pairs_and_the_model():
    text = shown(analysis())
    assert "rows9, of which 7 sampled" in text
    assert "used3 pairs, in 2 update batches of 2 and 1 pairs" in text
    assert "dropped2 × empty response" in text
    assert "parameters1,200, of which 1,000 trainable (selection: all)" in text
    assert "Held-out pairs" not in text
    assert "per held-out pair" not in text


def test_a_comparison_lists_both_kinds_of_pairs_and_what_was_counted_before_the_split():
    text = shown(comparison(per_pair="2 directions"))
    assert "Training pairs sourcepairs.jsonl rows9" in text
    assert "Held-out pairs sourcepairs.jsonl, held out rows9, of which 7 sampled used2 pairs maximal length" in text
    assert "on neither side: dropped 4 × prompt fills the maximal length." in text
    assert "per held-out pair2 directions" in text


def test_without_a_split_nothing_is_said_of_it():
    assert "on neither side" not in shown(comparison(before_split=None))
