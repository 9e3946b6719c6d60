"""Going on after an interruption: the same numbers, and no finished batch is computed twice."""

import json
import logging

import numpy as np
import pytest
import torch

import preflens.analysis.analyze as module
from preflens import Analysis
from preflens.analysis.measurement.checkpoint import Checkpoint
from preflens.analysis.measurement.sealed_arrays import digest, seal_arrays
from preflens.records.json_codec import to_json
from tests.cases.interrupted import assert_same, parts, run


def test_an_interrupted_run_goes_on_says_so_and_gives_the_same_bits(interrupted, caplog):
    out, counter = interrupted
    caplog.set_level(logging.INFO, "preflens")
    resumed = run(out, name="tiny")
    assert counter.measured == 1
    assert "Continuing the unfinished run begun 20" in caplog.text
    assert "2 finished parts" in caplog.text
    assert_same(resumed, run(name="tiny"))
    assert_same(Analysis.load(out), resumed)
    assert {path.name for path in out.iterdir()} == {"analysis.json", "pairs.parquet", "objectives.parquet"}


def test_other_objectives_rates_and_passes_use_what_is_there(interrupted):
    out, counter = interrupted
    found = run(out, objectives=["simpo"], learning_rate=0.1, micro_batch=1, verify_batches=1)
    assert counter.measured == 1
    assert found.metadata.objectives[0].label == "simpo"


def damage(out, content):
    path = out / ".unfinished" / "batch-000000.npz"
    path.write_bytes(content(path.read_bytes()))


@pytest.mark.parametrize(
    "content",
    [
        lambda whole: whole[:100],
        lambda whole: whole[:-1],
        lambda _: b"",
        lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
        lambda whole: whole + b"\0",
    ],
    ids=["cut off", "cut off by a byte", "empty", "a bit changed", "longer"],
)
def test_a_damaged_batch_is_named_and_computed_again(interrupted, content, caplog):
    out, counter = interrupted
    damage(out, content)
    resumed = run(out)
    assert counter.measured == 2
    assert "batch-000000.npz` is damaged (its content does not match its seal) and is computed again." in caplog.text
    assert_same(resumed, run())


def numbers(values):
    return torch.tensor(values, dtype=torch.float64)


def test_every_changed_byte_is_noticed(tmp_path):
    made, other = numbers([1.0, 2.0, 3.0]), numbers([-1.0, -1.0, -1.0])
    checkpoint, path = Checkpoint(tmp_path, "key"), tmp_path / "x.npz"
    checkpoint.values("x", (3,), lambda: made)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert checkpoint.values("x", (3,), lambda: other).equal(other), place
    path.write_bytes(whole)
    assert checkpoint.values("x", (3,), lambda: other).equal(made)


def test_what_is_kept_is_not_taken_under_another_name_or_by_another_run(tmp_path):
    made, other = numbers([1.0]), numbers([2.0])
    Checkpoint(tmp_path, "key").values("x", (1,), lambda: made)
    (tmp_path / "y.npz").write_bytes((tmp_path / "x.npz").read_bytes())
    assert Checkpoint(tmp_path, "key").values("y", (1,), lambda: other).equal(other)
    assert Checkpoint(tmp_path, "another key").values("x", (1,), lambda: other).equal(other)


def test_what_is_computed_lies_in_memory_as_what_is_read(tmp_path):
    """Sums over rows that lie otherwise are added up in another order."""
    matrix = torch.arange(6, dtype=torch.float64).reshape(2, 3).T
    for folder in (None, tmp_path, tmp_path):
        found = Checkpoint(folder, "key").values("x", (3, 2), lambda: matrix)
        assert found.equal(matrix)
        assert found.stride() == (2, 1)


def test_a_tensor_of_a_wrong_shape_is_computed_again(tmp_path, caplog):
    checkpoint = Checkpoint(tmp_path, "key")
    checkpoint.values("x", (1,), lambda: numbers([1.0]))
    assert checkpoint.values("x", (2,), lambda: numbers([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert "x.npz` is damaged (`values` should have the shape (2,). Found (1,)) and is computed again." in caplog.text


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("gram.matrix", lambda a: a[:2, :2], "`gram.matrix` should have the shape (4, 4). Found (2, 2)"),
        ("logps.chosen", lambda a: a[:1], "`logps.chosen` should have the shape (2,). Found (1,)"),
        ("ww", lambda a: a[:1], "`ww` should have the shape"),
        ("wl", lambda a: a[:, :, None], "`wl` should have the shape"),
        ("gram.logps", lambda a: a[None], "`gram.logps` should have the shape"),
    ],
)
def test_a_whole_batch_of_a_wrong_shape_is_named_and_computed_again(interrupted, name, change, words, caplog):
    out, counter = interrupted
    path = out / ".unfinished" / "batch-000000.npz"
    with np.load(path) as arrays:
        changed = {entry: arrays[entry] for entry in arrays.files}
    changed[name] = change(changed[name])
    path.write_bytes(seal_arrays(changed, path.stem, key_of(out)))
    resumed = run(out)
    assert counter.measured == 2
    assert f"batch-000000.npz` is damaged ({words}" in caplog.text
    assert_same(resumed, run())


def key_of(out):
    """The key of the run in a folder, as it is made of what the run says about itself."""
    traits = json.loads((out / ".unfinished" / "run.json").read_text())["traits"]
    return digest(to_json({name: trait["content"] for name, trait in sorted(traits.items())}).encode()).encode()


def test_a_batch_without_an_array_is_computed_again(interrupted):
    out, _ = interrupted
    path = out / ".unfinished" / "batch-000000.npz"
    with np.load(path) as arrays:
        rest = {entry: arrays[entry] for entry in arrays.files if entry != "ww"}
    path.write_bytes(seal_arrays(rest, path.stem, key_of(out)))
    assert_same(run(out), run())


def test_a_batch_under_the_number_of_another_is_not_taken(interrupted):
    out, counter = interrupted
    folder = out / ".unfinished"
    (folder / "batch-000002.npz").write_bytes((folder / "batch-000000.npz").read_bytes())
    resumed = run(out)
    assert counter.measured == 1
    assert_same(resumed, run())


def test_kept_batches_hold_no_pickles(interrupted):
    out, _ = interrupted
    assert parts(out) == ["batch-000000.npz", "batch-000001.npz"]
    for name in parts(out):
        with np.load(out / ".unfinished" / name, allow_pickle=False) as arrays:
            assert all(arrays[name].dtype != object for name in arrays.files)


def test_a_checkpoint_without_a_folder_keeps_nothing():
    checkpoint = Checkpoint(None, "key")
    for value in (1.0, 2.0):
        assert checkpoint.values("x", (1,), lambda value=value: numbers([value])).tolist() == [value]


def test_passes_are_those_of_the_run_that_is_gone_on_with(counter, tmp_path, monkeypatch):
    """What is free changes from run to run, and with the passes the last digits would."""
    asked, real = [], module.pass_limit

    def note(*arguments, memory):
        asked.append(memory)
        return real(*arguments, memory=memory)

    monkeypatch.setattr(module, "pass_limit", note)
    for budget in (8e6, 6e6, 1e6):
        monkeypatch.setattr(module, "memory_budget", lambda _, budget=budget: budget)
        counter.measured = 0
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
        counter.lets_through = 0
    assert asked == [4e6, 4e6, 5e5]


def test_real_steps_that_were_taken_are_not_taken_again(tmp_path, monkeypatch):
    taken, real = [], module.verify_objective

    def once(label, *arguments, **more):
        taken.append(label)
        if len(taken) == 2:
            raise KeyboardInterrupt
        return real(label, *arguments, **more)

    monkeypatch.setattr(module, "verify_objective", once)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, objectives=["dpo", "slic"], verify_batches=2)
    resumed = run(tmp_path, objectives=["dpo", "slic"], verify_batches=2)
    assert taken == ["dpo", "slic", "slic"]
    assert_same(resumed, run(objectives=["dpo", "slic"], verify_batches=2))
