"""A command that calls its function with stand-ins for everything that is loaded."""

import sys

import pytest

from preflens.cli.loading import LoadedModels
from preflens.cli.main import app


@pytest.fixture
def called(monkeypatch, tmp_path):
    """Run a command with a stand-in for its function: returns arguments and label of that call."""

    class Called(Exception):
        pass

    def run(command, *more):
        calls = []

        def function(*arguments, **options):
            from preflens.analysis.run_label import run_label

            calls.append((arguments, options, run_label()))
            raise Called

        monkeypatch.setattr(f"preflens.analysis.{command}.{command}", function)
        monkeypatch.setattr("preflens.cli.loading.load", lambda name, **_: LoadedModels(name, "tokenizer", "self"))
        monkeypatch.setattr("preflens.language_models.loading.check_model_folder", lambda _: None)
        monkeypatch.setattr("preflens.language_models.reading.read_pairs", lambda name, **options: (name, options))
        words = [command, "--model", "m", "--data", "d", "--out", str(tmp_path / "out"), *map(str, more)]
        monkeypatch.setattr(sys, "argv", ["preflens", *words])
        with pytest.raises(Called):
            app(words, standalone_mode=False)
        return calls[0]

    return run
