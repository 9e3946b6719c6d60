"""The help of `preflens train` lists options that TRL parses."""

from dataclasses import fields

import pytest

from preflens.cli.main import app
from preflens.train_config.options import OPTION_PANELS, TrainOptions


def test_every_option_and_every_panel_is_listed(capsys):
    with pytest.raises(SystemExit):
        app(["train", "--help"])
    text = capsys.readouterr().out
    assert all(f"--{option.name}" in text for option in fields(TrainOptions))
    assert all(title in text for title in OPTION_PANELS.values())
