"""A comparison in the terminal."""

from preflens.cli.terminal.comparison import print_comparison
from preflens.records.comparison_wording import comparison_verdict
from tests.cases.comparisons import typical


def test_verdict_and_table_are_printed(capsys):
    print_comparison(typical())
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert comparison_verdict(typical().metadata).headline in text
    assert "=dpo:beta=0.5" in text  # a member of the group of dpo
    assert "6 training pairs in 3 update batches of 2 pairs, 6 held out (memory)." in text
