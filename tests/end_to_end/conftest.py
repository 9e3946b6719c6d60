"""A saved tiny model and pairs, and a way to call the command line."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from preflens.cli.main import main
from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS, chat_rows
from tests.support.rows import write_rows


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with `model`, `adapter`, `pairs.jsonl` and `chat.jsonl`."""
    folder = tmp_path_factory.mktemp("place")
    tiny_model("llama", dtype=torch.float32).save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    tiny_lora(dtype=torch.float32).save_pretrained(folder / "adapter")
    write_rows(folder / "pairs.jsonl", TEXT_ROWS)
    write_rows(folder / "chat.jsonl", chat_rows())
    return folder


@pytest.fixture
def preflens(monkeypatch, capsys):
    """Call the command line in this process: returns exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["preflens", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return call


def run_outside(*arguments, **options):
    """Call the command line in a process of its own."""
    command = [str(Path(sys.executable).with_name("preflens")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)
