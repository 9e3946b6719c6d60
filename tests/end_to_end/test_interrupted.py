"""A command that is interrupted or killed from outside, at any time, and called again."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from preflens import Analysis, Comparison
from tests.cases.interrupted import timeless
from tests.cases.pairs import TEXT_ROWS
from tests.end_to_end.conftest import run_outside, write_rows

UNFINISHED = {"analyze": ".unfinished", "compare": ".unfinished-compare"}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A file with enough pairs to interrupt their analysis."""
    rows = [row | {"id": f"{row['id']} {i}", "prompt": f"{row['prompt']} {i}"} for i in range(15) for row in TEXT_ROWS]
    return write_rows(tmp_path_factory.mktemp("many") / "pairs.jsonl", rows)


def arguments(command, place, many, out):
    more = {
        "analyze": ["--verify", 2],
        "compare": ["--objectives", "dpo,slic", "--horizon", "1,4", "--verify", "dpo", "--per-pair"],
    }
    return [command, "--model", place / "model", "--data", many, "--out", out, "--update-batch-size", 2, *more[command]]


def stopped(command, by, signal_number):
    """Start a command, send it a signal some time after it has finished some parts, and read its words."""
    line = [str(Path(sys.executable).with_name("preflens")), *map(str, command)]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        while not len(list(by.glob("*.npz"))) > 2:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        time.sleep(random.random())
        process.send_signal(signal_number)
        _, words = process.communicate()
    return process.returncode, words


@pytest.mark.parametrize(
    ("command", "signal_number", "kind"),
    [
        ("analyze", signal.SIGINT, Analysis),
        ("analyze", signal.SIGKILL, Analysis),
        ("compare", signal.SIGTERM, Comparison),
    ],
)
def test_a_command_goes_on_where_it_was_stopped_and_finds_the_same_numbers(
    command, signal_number, kind, place, many, tmp_path, preflens
):
    out, by = tmp_path / "out", tmp_path / "out" / UNFINISHED[command]
    code, words = stopped(arguments(command, place, many, out), by, signal_number)
    assert code != 0
    assert "Traceback" not in words
    assert ("Stopped. " in words) == (signal_number == signal.SIGINT)
    assert list(by.glob("*.npz"))
    code, _, said = preflens(*arguments(command, place, many, out), "--seed", 1, "--no-progress")
    assert code == 2
    assert said.count("\n") == 1
    assert said.startswith(f"error: `{by}` holds an unfinished run")
    assert {"analyze": "update batches 45 of up to 2 pairs (seed 1)", "compare": "held-out pairs 18 of"}[
        command
    ] in said
    again = run_outside(*arguments(command, place, many, out), "--no-progress")
    assert again.returncode == 0, again.stderr
    assert "Continuing the unfinished run begun" in again.stderr
    assert not by.exists()
    code, _, said = preflens(*arguments(command, place, many, tmp_path / "whole"), "--no-progress")
    assert code == 0, said
    resumed, whole = kind.load(out), kind.load(tmp_path / "whole")
    for name, found in vars(whole).items():
        if name == "metadata":
            assert timeless(replace(found, command=None)) == timeless(replace(resumed.metadata, command=None))
        else:
            assert found.equals(getattr(resumed, name)), name


@pytest.mark.parametrize(("command", "name"), [("analyze", "report.html"), ("compare", "compare.html")])
def test_a_page_that_cannot_be_written_costs_neither_results_nor_verdict(
    command, name, place, tmp_path, preflens, monkeypatch
):
    from preflens.records import storage

    real = storage._put_on_disk

    def full(path):
        if path.suffix == ".html":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path)

    monkeypatch.setattr(storage, "_put_on_disk", full)
    code, out, said = preflens(*arguments(command, place, place / "pairs.jsonl", tmp_path), "--no-progress")
    assert code == 2
    assert said.startswith(f"error: Cannot write `{tmp_path / name}`: No space left on device.")
    assert said.count("\n") == 1
    assert "margin" in out
    monkeypatch.setattr(storage, "_put_on_disk", real)
    assert preflens("report", tmp_path)[0] == 0
    assert (tmp_path / name).exists()


def test_an_unfinished_run_is_discarded_by_its_flag_alone(place, many, tmp_path, preflens):
    by = tmp_path / ".unfinished"
    stopped(arguments("analyze", place, many, tmp_path), by, signal.SIGKILL)
    other = [*arguments("analyze", place, many, tmp_path), "--limit", 4, "--no-progress"]
    assert preflens(*other)[0] == 2
    code, _, said = preflens(*other, "--discard")
    assert code == 0
    assert "Deleting the unfinished run in" in said
    assert not by.exists()
    assert "--discard" not in Analysis.load(tmp_path).metadata.command


@pytest.mark.parametrize("command", ["analyze", "compare"])
def test_a_second_command_is_refused_before_it_loads_anything(command, place, many, tmp_path, preflens):
    from preflens.records.lock import folder_lock

    with folder_lock(tmp_path / UNFINISHED[command]):
        line = [part if part != place / "model" else "nowhere" for part in arguments(command, place, many, tmp_path)]
        code, _, said = preflens(*line, "--discard")
    assert code == 2
    assert "Another run uses" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "file"), [("analyze", "pairs.parquet"), ("analyze", "report.html"), ("compare", "compare.html")]
)
def test_a_folder_in_the_way_of_a_file_is_named_before_anything_is_loaded(
    command, file, place, many, tmp_path, preflens
):
    (tmp_path / file).mkdir()
    line = [part if part != place / "model" else "nowhere" for part in arguments(command, place, many, tmp_path)]
    code, _, said = preflens(*line)
    assert code == 2
    assert said.startswith(f"error: Cannot write `{tmp_path / file}`: Is a directory.")
    assert said.count("\n") == 1
