"""Files that are either complete or not there."""

import errno
import os
import stat
import subprocess

import pyarrow as pa
import pytest

from preflens.errors import InputError
from preflens.records.storage import output_folder, write_atomically, write_table, write_together


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "x.txt"
    write_atomically(path, lambda p: p.write_text("old"))

    def fail(p):
        p.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def full(path):
    """Writes a part and finds the disk full."""
    path.write_text("half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_files_that_belong_together_change_together_or_not_at_all(tmp_path):
    paths = [tmp_path / name for name in ("a", "b")]
    write_together({path: lambda p: p.write_text("old") for path in paths})
    with pytest.raises(InputError, match=r"Cannot write `.*/b`: No space left on device. Free some space, or choose"):
        write_together({paths[0]: lambda p: p.write_text("new"), paths[1]: full})
    assert [path.read_text() for path in paths] == ["old", "old"]
    assert sorted(tmp_path.iterdir()) == paths


def test_a_disk_that_is_full_when_the_file_is_closed_is_said_to_be_full(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match=r"Cannot write `.*/x`: Disk quota exceeded. Free some space"):
        write_atomically(tmp_path / "x", lambda p: p.write_text("whole"))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A real disk of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("only root may mount a small disk")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(10**6)),
        lambda path: write_table(pa.table({"x": [os.urandom(10**6)]}), path, run=""),
    ],
    ids=["bytes", "parquet"],
)
def test_a_really_full_disk_is_one_line_and_an_older_file_stays(write, small_disk):
    path = small_disk / "x.parquet"
    path.write_text("old")
    with pytest.raises(InputError, match=r"Cannot write `.*/x.parquet`: .*[Nn]o space left on device") as caught:
        write_atomically(path, write)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert list(small_disk.iterdir()) == [path]


def test_a_disk_that_can_only_be_read_is_one_line(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(InputError, match=r"Cannot write `.*/x`: Read-only file system. Choose another folder."):
        write_atomically(small_disk / "x", lambda path: path.write_text("new"))
    with pytest.raises(InputError, match=r"Cannot write to the output folder `.*`: Read-only file system"):
        output_folder(small_disk)


def test_a_folder_where_the_file_should_be_is_said_to_stand_there(tmp_path):
    (tmp_path / "x" / "inside").mkdir(parents=True)
    with pytest.raises(InputError, match=r"Cannot write `.*/x`: Is a directory. A folder has this name: move it"):
        write_atomically(tmp_path / "x", lambda path: path.write_text("new"))
    with pytest.raises(InputError, match=r"Cannot write `.*/x`: Is a directory"):
        output_folder(tmp_path, ["y", "x"])
    assert (tmp_path / "x" / "inside").is_dir()
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"Cannot write `.*/file/x`: Not a directory"):
        write_atomically(tmp_path / "file" / "x", lambda path: path.write_text("new"))


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_are_as_readable_as_their_owner_wants_new_files_to_be(mask, tmp_path):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "x", lambda path: path.write_text("new"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~mask


def test_a_folder_is_made_with_its_parents(tmp_path):
    assert output_folder(tmp_path / "a" / "b").is_dir()


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "under"):
        with pytest.raises(ValueError, match="Cannot write to the output folder `.*file"):
            output_folder(place)
