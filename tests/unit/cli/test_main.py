"""The entry point: version, and errors in one line with flags."""

import sys

import pytest

import preflens
from preflens.cli.main import main


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["preflens", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code or 0


def test_the_version_is_printed(monkeypatch, capsys):
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"preflens {preflens.__version__}\n"


def test_an_error_is_one_line_that_names_the_flag(monkeypatch, capsys, tmp_path):
    code = run(monkeypatch, "analyze", "--model", "m", "--data", "d", "--out", str(tmp_path), "--learning-rate", "0")
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("error: `--learning-rate` should be above 0 and at most 1e+100")
    assert error.count("\n") == 1
