"""The panel of the training pairs that lower the held-out chosen log-probs."""

from dataclasses import replace

import pyarrow as pa
import pytest

from preflens.report.panels.harmful_pairs import harmful_pairs
from tests.cases.records import comparison, objective


def ids(section):
    return [card["pair"]["id"] for card in section.values["cards"]]


def test_the_pairs_with_the_most_negative_influence_come_first_per_nat_of_margin():
    """The influences of a, b and c on the chosen mean are −0.3, 0.2 and −0.1; the margin scale is 2.5."""
    section = harmful_pairs(comparison())
    assert ids(section) == ["a", "c"]
    assert section.values["cards"][0]["influence"] == pytest.approx([-0.75, -0.25, -0.5])
    assert (section.values["lowering"], section.values["total"]) == (2, 3)


def test_the_share_is_that_of_the_most_harmful_tenth_in_all_negative_influences():
    """With three pairs the tenth is one pair: 0.3 of 0.3 + 0.1."""
    assert harmful_pairs(comparison()).values["share"] == pytest.approx(0.75)


def test_without_a_growing_margin_influences_are_at_the_learning_rate():
    section = harmful_pairs(comparison(objectives=(objective(margin_scale=None),)))
    assert section.values["cards"][0]["influence"] == [-0.3, -0.1, -0.2]
    assert not section.values["per_margin"]


def test_the_first_objective_with_a_growing_margin_is_shown():
    record = comparison(objectives=(objective("ipo", margin_scale=None), objective("dpo")))
    assert harmful_pairs(record).values["objective"] == "dpo"


def test_without_a_negative_influence_no_pair_is_shown():
    record = comparison()
    place = record.rows.schema.get_field_index("heldout_chosen_influence")
    rows = record.rows.set_column(place, record.rows.schema.field(place), pa.array([0.1, 0.0, 0.2]))
    section = harmful_pairs(replace(record, rows=rows))
    assert ids(section) == []
    assert section.values["share"] is None
