"""Tables of a comparison: rows in the order of the data, whatever the update batches."""

import torch

from preflens.analysis.comparison.first_step import FirstSteps
from preflens.analysis.comparison.tables import compare_table, held_out_table
from preflens.records.comparison_schema import HELD_OUT_SCHEMA
from preflens.records.outcome import Outcome
from preflens.types import LogpChange
from tests.cases.comparisons import tokenized
from tests.cases.pairs import TEXT_ROWS


def test_rows_are_put_into_the_order_of_the_data():
    values = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], dtype=torch.float64)
    alone = {"dpo": LogpChange(values[0, 0], values[0, 1])}
    outcomes = {"dpo": (Outcome.INTENDED, Outcome.BOTH_FALL)}
    table = compare_table(
        FirstSteps(values, values, values), alone, outcomes, pairs=tokenized(TEXT_ROWS[:2]), batches=[[1], [0]],
        learning_rate=10.0,
    )  # fmt: skip
    assert table["id"].to_pylist() == ["sky", "dogs"]
    assert table["chosen_coefficient"].to_pylist() == [2.0, 1.0]
    assert table["batch_rejected_logp_change"].to_pylist() == [40.0, 30.0]
    assert table["heldout_margin_influence"].to_pylist() == [-20.0, -20.0]
    assert table["outcome"].to_pylist() == ["both_fall", "intended"]


def test_the_table_of_held_out_pairs_is_empty_without_changes_and_has_their_margins_with_them():
    pairs = tokenized(TEXT_ROWS[:2])
    assert held_out_table(["dpo"], pairs, None, learning_rate=1.0).equals(HELD_OUT_SCHEMA.empty_table())
    changes = torch.tensor([[[1.0, 2.0], [0.5, -1.0]]], dtype=torch.float64)
    table = held_out_table(["dpo"], pairs, changes, learning_rate=0.1)
    assert table["margin_change"].to_pylist() == [0.05, 0.30000000000000004]
