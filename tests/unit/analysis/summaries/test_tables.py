"""Tables of an analysis: texts are cut, rows are in the order of the pairs."""

from dataclasses import replace

import pytest

from preflens.analysis.summaries.tables import objectives_table, pairs_table
from preflens.objectives import dpo
from preflens.records.analysis_schema import TEXT_LIMIT
from tests.cases.comparisons import tokenized
from tests.cases.pairs import TEXT_ROWS
from tests.support.hand_made import two_batches


def test_rows_are_in_the_order_of_the_pairs_and_missing_values_are_null():
    pairs = tokenized(TEXT_ROWS[:2])
    batches = [replace(g, logps=replace(g.logps, ref_chosen=None, ref_rejected=None)) for g in two_batches()]
    table = pairs_table(pairs, [[1], [0]], batches)
    assert table["id"].to_pylist() == ["sky", "dogs"]
    assert table["chosen_sq_norm"].to_pylist() == [4.0, 1.0]
    assert table["update_batch"].to_pylist() == [1, 0]
    assert table["ref_chosen_logp"].null_count == 2
    assert table["cosine"].to_pylist() == [pytest.approx(2**-0.5), 0.0]


def test_a_prompt_keeps_its_end_and_an_answer_its_beginning():
    (pair,) = tokenized(TEXT_ROWS[:1])
    long = replace(pair, pair=replace(pair.pair, prompt="a" + "p" * TEXT_LIMIT, chosen="c" * TEXT_LIMIT + "z"))
    row = pairs_table([long], [[0]], two_batches()[:1]).to_pylist()[0]
    assert row["prompt"] == "…" + "p" * TEXT_LIMIT
    assert row["chosen"] == "c" * TEXT_LIMIT + "…"


def test_a_predicted_step_by_hand():
    """Gradients (2, 0) and (1, 1), equal coefficients d: chosen changes by 2d, rejected by 0."""
    (row,) = objectives_table(
        {"dpo": dpo()}, tokenized(TEXT_ROWS[:1]), [[0]], two_batches()[1:], learning_rate=0.1
    ).to_pylist()
    d = row["chosen_coefficient"]
    assert d == row["rejected_coefficient"] == pytest.approx(0.05)
    assert row["chosen_logp_change"] == row["batch_chosen_logp_change"] == pytest.approx(0.1 * 2 * d)
    assert row["rejected_logp_change"] == pytest.approx(0.0)
    assert row["slack_chosen"] == pytest.approx(2 * d)
