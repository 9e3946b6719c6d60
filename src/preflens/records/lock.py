"""One process at a time in a folder, by a lock that the system takes back when a process dies, however it dies.

It is `flock` on a file in the folder: kept between the processes of a machine on every local disk, and between machines
on NFS (Linux turns it into a lock that the server keeps). Where a file system or a system keeps no such locks (some
mounts of Lustre, Windows) a warning says so, and nothing is locked.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from preflens.errors import InputError
from preflens.records.storage import output_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # asked for below

LOCK = "lock"
LOGGER = logging.getLogger("preflens")
_ATTEMPTS = 100  # each means that another process cleared the folder away at this very moment


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Have a folder to oneself for a while; it is made if needed, and removed at the end if it is empty.

    Args:
        folder: where the lock file lies; whoever clears the folder may remove that too.

    Yields:
        Nothing.
    """
    handle = _acquire(folder / LOCK)
    try:
        yield
    finally:
        os.close(handle)  # takes the lock back
        with suppress(OSError):
            folder.rmdir()


def refuse_if_at_work(folder: Path) -> None:
    """Refuse a folder that another process has to itself.

    Args:
        folder: that may or may not be there.
    """
    if (folder / LOCK).exists():
        with folder_lock(folder):
            pass


def _acquire(path: Path) -> int:
    for _ in range(_ATTEMPTS):
        output_folder(path.parent)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(f"Cannot write `{path}`: {error.strerror}. Choose another folder.") from None
        try:
            _lock(handle, path)
            if os.path.samestat(os.fstat(handle), path.stat()):
                _say_who(handle)
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise InputError(f"`{path}` cannot be kept: something removes it again and again. Choose another folder.")


def _lock(handle: int, path: Path) -> None:
    """Take the lock, or say who has it."""
    try:
        if fcntl is None:
            raise OSError("this system has none")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        holder = os.read(handle, 500).decode(errors="replace").strip() or "another process"
        raise InputError(
            f"A run is at work in `{path.parent}` ({holder}). Wait until it has ended, or choose another output folder."
        ) from None
    except OSError as error:
        LOGGER.warning(
            "`%s` cannot be locked (%s): see to it that no second run uses this folder at the same time.", path,
            error.strerror or error,
        )  # fmt: skip


def _say_who(handle: int) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(OSError):  # on a full disk the lock holds all the same
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}, since {now}\n".encode(), 0)
