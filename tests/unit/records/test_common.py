"""Estimates have no interval unless one is given."""

import pytest

from preflens.records.common import DataProvenance, Estimate, ModelProvenance
from preflens.records.json_codec import from_json, to_json


@pytest.mark.parametrize(
    "record",
    [
        Estimate(0.1 + 0.2, None, 0.5),
        DataProvenance("rows", "ab", 9, 8, 7, {"bad row": 1}, {}, 96),
        ModelProvenance("gpt2", "GPT2LMHeadModel", "cd", "float32", "cpu", 10, 5, "all", "self"),
    ],
)
def test_shared_records_survive_as_json(record):
    assert from_json(type(record), to_json(record)) == record


def test_an_estimate_is_a_value_without_an_interval_by_default():
    assert (Estimate(1.0).low, Estimate(1.0).high) == (None, None)
