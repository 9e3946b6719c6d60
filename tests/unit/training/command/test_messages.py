"""Console messages of a run."""

from io import StringIO

import pytest
from rich.console import Console

from preflens.errors import InputError
from preflens.training.command import messages


@pytest.fixture
def printed(monkeypatch):
    page = Console(file=StringIO(), width=200)
    monkeypatch.setattr(messages, "ERRORS", page)
    monkeypatch.setattr(messages, "OUTPUT", page)
    return page.file.getvalue


def test_pairs_are_counted_where_they_can_be(printed):
    messages.print_pair_counts([1, 2], [3])
    messages.print_pair_counts([1, 2], None)
    messages.print_pair_counts(iter(()), None)
    assert printed().splitlines() == [
        "Pairs: 2 to train on, 1 held out.",
        "Pairs: 2 to train on, none held out (the probe uses batches only).",
    ]


def test_only_files_that_exist_are_named(printed, tmp_path):
    (tmp_path / "trainer_state.json").touch()
    messages.print_output_files(tmp_path)
    assert printed().splitlines() == [f"Model: {tmp_path}", f"Log: {tmp_path / 'trainer_state.json'}"]


def test_an_error_is_one_line_without_markup(printed):
    messages.print_error(InputError("One [red]line\nand another."))
    assert printed() == "error: One [red]line and another.\n"


def test_rows_left_out_are_warned_about_with_reason_and_number(caplog):
    messages.warn_about_rows("`a`", {"empty": 2}, {"cut": 1}, of=9)
    assert [record.getMessage() for record in caplog.records] == [
        "`a`: 2 of 9 rows left out (empty)",
        "`a`: 1 of 9 rows noted (cut)",
    ]
