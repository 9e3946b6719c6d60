"""Columns of a comparison repeat those of an analysis and add influences and products."""

from preflens.records.analysis_schema import OBJECTIVES_SCHEMA, PAIRS_SCHEMA
from preflens.records.comparison_schema import COMPARE_SCHEMA, HELD_OUT_SCHEMA, TRAINING_SCHEMA


def test_repeated_columns_are_the_same_and_new_ones_are_named_after_sides():
    shared = [name for name in COMPARE_SCHEMA.names if name in OBJECTIVES_SCHEMA.names]
    assert len(shared) == 9
    assert all(COMPARE_SCHEMA.field(n).equals(OBJECTIVES_SCHEMA.field(n), check_metadata=True) for n in shared)
    assert COMPARE_SCHEMA.names[9:] == [f"heldout_{what}_influence" for what in ("chosen", "rejected", "margin")]
    assert TRAINING_SCHEMA.names[: len(PAIRS_SCHEMA)] == PAIRS_SCHEMA.names
    assert len(TRAINING_SCHEMA) == len(PAIRS_SCHEMA) + 6
    assert HELD_OUT_SCHEMA.names[-1] == "margin_change"
