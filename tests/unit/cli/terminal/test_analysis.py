"""An analysis in the terminal."""

from preflens.cli.terminal.analysis import print_verdicts
from preflens.records.analysis_wording import verdicts
from tests.cases.analyses import hostile, typical


def test_verdicts_outcomes_and_verification_are_printed(capsys):
    print_verdicts(typical())
    text = " ".join(capsys.readouterr().out.split())
    for verdict in verdicts(typical().metadata):
        assert " · ".join(verdict.labels) in text
    assert "6 pairs in 3 update batches of 2 pairs" in text
    assert "forecast against one real step of dpo: slope" in text
    assert "Reference: the model itself, as at the first step of training." in text


def test_texts_of_data_cannot_act_in_the_terminal(capsys):
    print_verdicts(hostile())
    assert not set("\x1b\x9b\u202e\u200b") & set(capsys.readouterr().out)
