"""Outcomes have a value for tables and a label for people."""

from preflens.records.outcome import Outcome


def test_every_outcome_has_a_label_of_its_own():
    labels = {outcome.label for outcome in Outcome}
    assert len(labels) == len(Outcome) == 5
    assert Outcome.INTENDED.label == "chosen rises, rejected falls"
    assert Outcome.REVERSED.label == "chosen falls, rejected rises"
    assert Outcome("both_fall").label == "both fall"
