"""A comparison in the terminal."""

import re
from io import StringIO

import pytest
from rich.console import Console

from preflens.cli.terminal.comparison import _table, print_comparison
from preflens.records.comparison_groups import groups
from preflens.records.comparison_wording import comparison_verdict
from tests.cases.comparisons import COMPARISONS, typical


def test_verdict_and_table_are_printed(capsys):
    print_comparison(typical())
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert comparison_verdict(typical().metadata).headline in text
    assert "=dpo:beta=0.5" in text  # a member of the group of dpo
    assert "6 training pairs in 3 update batches of 2 pairs, 6 held out (memory)." in text


@pytest.mark.parametrize("name", [name for name in COMPARISONS if name != "hostile"])
def test_no_number_of_the_table_is_cut_at_eighty_columns(name):
    narrow, wide = (Console(width=width, file=StringIO()) for width in (80, 200))
    for console in (narrow, wide):
        console.print(_table(groups(COMPARISONS[name]().metadata)))
    numbers = [re.findall(r" ([+−]\d[\d.e+−]*)\b", console.file.getvalue()) for console in (narrow, wide)]
    assert numbers[0] == numbers[1]
    assert "…" not in narrow.file.getvalue()
