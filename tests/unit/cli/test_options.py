"""Options that several commands share."""

import sys

from preflens.cli.options import BadRow, DtypeName, command_line
from preflens.language_models.loading import DTYPES


def test_the_command_line_is_quoted_and_never_discards_again(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["preflens", "analyze", "--data", "my pairs.jsonl", "--discard", "--out", "x"])
    assert command_line() == "preflens analyze --data 'my pairs.jsonl' --out x"


def test_types_are_those_that_models_are_loaded_in():
    assert {name.value for name in DtypeName} == set(DTYPES)
    assert [row.value for row in BadRow] == ["stop", "drop"]
