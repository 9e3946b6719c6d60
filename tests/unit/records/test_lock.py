"""One process at a time in a folder, and none after a death."""

import errno
import os
import signal
import socket
from contextlib import contextmanager
from pathlib import Path

import pytest

from preflens.errors import InputError
from preflens.records import lock
from preflens.records.lock import LOCK, folder_lock, refuse_if_locked

# Python 3.12 warns of it where there are threads; the child does nothing that waits for one.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@contextmanager
def another_process(folder):
    """A process that has the folder to itself until it is killed."""
    ready, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with folder_lock(folder):
                os.write(say, b"1")
                signal.pause()
        finally:  # nothing of pytest may run in this process
            os._exit(1)
    os.read(ready, 1)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_folder_that_another_process_has_to_itself_is_refused_and_says_whose_it_is(tmp_path):
    with another_process(tmp_path / "x") as child:
        for ask in (lambda: folder_lock(tmp_path / "x").__enter__(), lambda: refuse_if_locked(tmp_path / "x")):
            words = rf"Another run uses `.*/x` \(process {child} on {socket.gethostname()}, since 20\S+\). Wait until"
            with pytest.raises(InputError, match=words):
                ask()


def test_a_killed_process_keeps_no_lock(tmp_path):
    with another_process(tmp_path / "x"):
        pass
    assert (tmp_path / "x" / LOCK).exists()
    refuse_if_locked(tmp_path / "x")
    with folder_lock(tmp_path / "x"):
        assert f"process {os.getpid()} " in (tmp_path / "x" / LOCK).read_text()


def test_the_lock_is_given_back_after_an_exception_too(tmp_path):
    with pytest.raises(RuntimeError), folder_lock(tmp_path):
        raise RuntimeError
    with folder_lock(tmp_path):
        pass


def test_a_folder_that_is_cleared_under_the_lock_is_gone_and_can_be_locked_anew(tmp_path):
    for _ in range(2):
        with folder_lock(tmp_path / "x"):
            (tmp_path / "x" / LOCK).unlink()
        assert not (tmp_path / "x").exists()


def test_a_lock_on_a_file_that_was_just_removed_is_no_lock(tmp_path, monkeypatch):
    """Another process clears the folder between our opening the file and our locking it."""
    real, removed = lock._lock, []

    def late(handle, path):
        if not removed:
            removed.append(path)
            path.unlink()
        real(handle, path)

    monkeypatch.setattr(lock, "_lock", late)
    with folder_lock(tmp_path / "x"), pytest.raises(InputError, match="Another run uses"):
        folder_lock(tmp_path / "x").__enter__()
    assert removed


def test_a_folder_that_nobody_made_is_at_nobodys_work(tmp_path):
    refuse_if_locked(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x", "x/lock"])
def test_what_is_in_the_way_of_the_lock_is_named(tmp_path, name):
    if name == "x":
        (tmp_path / "x").write_text("mine")
    else:
        (tmp_path / "x" / "lock").mkdir(parents=True)
    with pytest.raises(InputError, match=r"Cannot write .*/x.*: (File exists|Is a directory)"):
        folder_lock(tmp_path / "x").__enter__()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_to_have_none(tmp_path, monkeypatch, caplog, code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lock.fcntl, "flock", fail)
    with folder_lock(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert "cannot be locked (" in caplog.text
    assert "make sure that no second run uses this folder" in caplog.text


def test_a_lock_holds_on_a_full_disk(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", fail)
    with folder_lock(tmp_path), pytest.raises(InputError, match=r"Another run uses `.*` \(another process\)"):
        folder_lock(Path(tmp_path)).__enter__()
