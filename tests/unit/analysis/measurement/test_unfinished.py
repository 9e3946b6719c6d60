"""An unfinished run: one at a time, not mixed with another, kept until its results are saved."""

import errno
import logging
import os
import subprocess

import pytest
import torch

from preflens import Analysis
from preflens.errors import InputError
from preflens.records import storage
from tests.cases.interrupted import assert_same, parts, run
from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS, chat_rows


def test_a_run_that_nothing_disturbs_says_nothing(tmp_path, caplog):
    caplog.set_level(logging.INFO, "preflens")
    run(tmp_path)
    assert [record for record in caplog.records if record.name == "preflens"] == []


def test_what_an_interruption_leaves_is_said(counter, tmp_path, caplog):
    caplog.set_level(logging.INFO, "preflens")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert "Stopped. 2 finished parts in" in caplog.text
    assert "the same command continues from there" in caplog.text


def tokenizer_with_a_heading():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "# " + tokenizer.chat_template
    return tokenizer


def rescaled_model():
    """The same weights under another configuration."""
    model = tiny_model()
    model.config.scale_attn_weights = False
    return model


def seeded_lora(**changes):
    """An adapter whose weights are the same every time."""
    torch.manual_seed(0)
    return tiny_lora(**changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: {"model": tiny_model(seed=1)}, "model tiny, with other content then."),
        (lambda: {"model": rescaled_model()}, "model tiny, with other content then."),
        (lambda: {"model": tiny_model("llama")}, "model tiny, with other content then; parameters trainable, with"),
        (lambda: {"seed": 3}, r"update batches 3 of up to 2 pairs \(seed 3\), then 3 of up to 2 pairs \(seed 0\)."),
        (lambda: {"update_batch_size": 3}, r"update batches 2 of up to 3 pairs \(seed 0\), then 3 of up to 2 pairs"),
        (lambda: {"trainable": "ln_f"}, "parameters ln_f, then trainable."),
        (lambda: {"reference": tiny_model(seed=2)}, r"reference in memory \(\w+\), then self."),
        (lambda: {"max_length": 12}, r"pairs 5 of memory \(at most 12 tokens\), then 6 of memory \(at most 96 tokens"),
        (lambda: {"rows": TEXT_ROWS[1:]}, r"pairs 5 of memory \(at most 96 tokens\), then 6 of memory"),
        (lambda: {"limit": 4}, "pairs 4 of memory"),
    ],
)  # fmt: skip
def test_another_run_is_refused_with_the_difference_and_loses_nothing(interrupted, change, words):
    out, counter = interrupted
    before = {path.name: path.read_bytes() for path in (out / ".unfinished").iterdir() if path.name != "lock"}
    expected = (
        rf"holds an unfinished run, begun 20\S+, that is not this one: {words}.*Finish it by `preflens analyze the"
    )
    with pytest.raises(InputError, match=expected) as caught:
        run(out, **{"name": "tiny"} | change())
    assert "choose another output folder, or delete it with `discard=True` (`--discard`)." in str(caught.value)
    assert "continues from there" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert counter.measured == 0
    after = {path.name: path.read_bytes() for path in (out / ".unfinished").iterdir() if path.name != "lock"}
    assert after == before
    assert_same(run(out, name="tiny"), run(name="tiny"))


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (
            lambda: {"rows": chat_rows()},
            lambda: {"rows": chat_rows(), "tokenizer": tokenizer_with_a_heading()},
            "pairs 6 of memory .at most 96 tokens., with other content then. ",
        ),
        (
            lambda: {"model": tiny_lora(), "reference": "adapter-off"},
            lambda: {"model": tiny_lora(seed=7), "reference": "adapter-off"},
            "adapter default .LORA., with other content then. ",
        ),
        (
            lambda: {"model": seeded_lora(), "reference": "adapter-off"},
            lambda: {"model": seeded_lora(lora_alpha=9), "reference": "adapter-off"},
            "adapter default .LORA., with other content then. ",
        ),
        (
            lambda: {"model": tiny_model("llama")},
            lambda: {"model": tiny_lora(), "trainable": "all"},
            "adapter default .LORA., then none; ",
        ),
    ],
    ids=["another chat template", "another adapter", "an adapter of another strength", "an adapter and none"],
)  # fmt: skip
def test_what_reads_alike_and_counts_otherwise_is_another_run(counter, tmp_path, first, second, words):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, **first())
    counter.lets_through = 100
    with pytest.raises(InputError, match=f"that is not this one: {words}"):
        run(tmp_path, **second())


def test_the_name_of_a_model_or_a_file_does_not_matter(interrupted):
    out, counter = interrupted
    run(out, name="./tiny", command="preflens analyze elsewhere")
    assert counter.measured == 1


def test_an_unfinished_run_is_thrown_away_only_when_asked_for(interrupted, caplog):
    out, counter = interrupted
    caplog.set_level(logging.INFO, "preflens")
    found = run(out, seed=3, discard=True)
    assert "Deleting the unfinished run in" in caplog.text
    assert "2 finished parts" in caplog.text
    assert counter.measured == 3
    assert_same(found, run(seed=3))


def test_the_same_run_begins_anew_when_asked_to(interrupted):
    out, counter = interrupted
    run(out, discard=True)
    assert counter.measured == 3


@pytest.fixture
def full_disk(monkeypatch):
    """Fill the disk when the n-th file is written."""

    def fill(at):
        written, real = [], storage._put_on_disk

        def fail(path):
            written.append(path)
            if len(written) >= at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            real(path)

        monkeypatch.setattr(storage, "_put_on_disk", fail)
        return lambda: monkeypatch.setattr(storage, "_put_on_disk", real)

    return fill


@pytest.mark.parametrize(
    ("at", "file", "kept"),
    [
        (1, "run.json", 0),
        (2, "batch-000000.npz", 0),
        (3, "batch-000001.npz", 1),
        (5, "pairs.parquet", 3),
        (6, "objectives.parquet", 3),
        (7, "analysis.json", 3),
    ],
)
def test_a_full_disk_is_one_line_and_loses_no_finished_batch(counter, full_disk, tmp_path, at, file, kept):
    counter.lets_through = 100
    free = full_disk(at)
    with pytest.raises(
        InputError, match=rf"Cannot write `.*/{file}`: No space left on device. Free some space"
    ) as caught:
        run(tmp_path)
    assert "\n" not in str(caught.value)
    assert (f"{kept} finished part" in str(caught.value)) == (kept > 0)
    assert {path.name for path in tmp_path.iterdir()} == ({".unfinished"} if kept else set())
    free()
    counter.measured = 0
    resumed = run(tmp_path)
    assert counter.measured == 3 - kept
    assert_same(resumed, run())


def test_an_older_result_survives_a_full_disk(full_disk, tmp_path):
    run(tmp_path, seed=3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    full_disk(6)
    with pytest.raises(InputError, match="No space left"):
        run(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_really_full_disk_is_one_line(tmp_path):
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        with pytest.raises(InputError, match=r"No space left on device. Free some space.* the same command continues"):
            run(tmp_path)
        assert parts(tmp_path)
        subprocess.run(["mount", "-o", "remount,size=10m", tmp_path], check=True)
        assert_same(run(tmp_path), run())
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("file", ["analysis.json", "pairs.parquet", "objectives.parquet"])
def test_a_folder_in_the_way_of_a_result_is_named_before_anything_is_measured(counter, tmp_path, file):
    (tmp_path / file).mkdir()
    with pytest.raises(InputError, match=rf"Cannot write `.*/{file}`: Is a directory. A folder has this name"):
        run(tmp_path)
    assert counter.measured == 0
    assert (tmp_path / file).is_dir()


def test_a_folder_that_gets_in_the_way_later_costs_no_batch(interrupted, monkeypatch):
    out, counter = interrupted
    save = Analysis.save

    def block(self, folder):
        (folder / "objectives.parquet").mkdir()
        save(self, folder)

    monkeypatch.setattr(Analysis, "save", block)
    with pytest.raises(InputError, match=r"objectives.parquet`: Is a directory.* 3 finished parts in"):
        run(out)
    monkeypatch.setattr(Analysis, "save", save)
    (out / "objectives.parquet").rmdir()
    counter.measured = 0
    assert_same(run(out), run())
    assert counter.measured == 3  # of the run without a folder


def test_a_file_in_the_way_of_the_folder_of_batches_is_named_and_stays(tmp_path):
    (tmp_path / ".unfinished").write_text("mine")
    with pytest.raises(InputError, match=r"Cannot write to the output folder `.*/.unfinished`: File exists"):
        run(tmp_path)
    assert (tmp_path / ".unfinished").read_text() == "mine"


def test_a_folder_in_the_way_of_a_batch_is_named_and_stays(interrupted):
    out, counter = interrupted
    (out / ".unfinished" / "batch-000002.npz" / "mine").mkdir(parents=True)
    with pytest.raises(InputError, match=r"Cannot read `.*batch-000002.npz`: Is a directory. Move it away"):
        run(out)
    assert counter.measured == 0
    assert (out / ".unfinished" / "batch-000002.npz" / "mine").is_dir()
    run(out, discard=True)
    assert not (out / ".unfinished").exists()


@pytest.mark.parametrize("content", [None, "", "{", '{"begun": 1}', "\udcff"])
def test_batches_of_which_nobody_knows_the_run_are_refused_and_stay(interrupted, content):
    out, counter = interrupted
    about = out / ".unfinished" / "run.json"
    about.unlink() if content is None else about.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(
        InputError, match=r"holds parts of a run, and run.json, which describes the run, is missing or can"
    ):
        run(out)
    assert len(parts(out)) == 2
    run(out, discard=True)
    assert counter.measured == 3


def test_what_a_run_leaves_that_died_while_it_cleared_up_is_no_unfinished_run(interrupted):
    out, counter = interrupted
    (out / ".unfinished" / "run.json").rename(out / ".unfinished" / "saved.json")
    run(out, seed=3)
    assert counter.measured == 3
    assert not (out / ".unfinished").exists()


def test_half_written_files_of_a_killed_process_are_removed(interrupted):
    out, _ = interrupted
    (out / ".unfinished" / ".0123.npz").write_bytes(b"half")
    assert_same(run(out), run())
    assert not (out / ".unfinished").exists()


def test_a_run_that_fails_before_its_first_batch_leaves_nothing(counter, tmp_path):
    counter.lets_through = 0
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert list(tmp_path.iterdir()) == []
