"""Lock a folder for one process. The operating system releases the lock when the process ends, however it ends.

The lock is `flock` on a file in the folder. It works between processes of one machine on local disks, and between
machines on NFS (where Linux turns it into a lock of the server). Where locks are not supported (some mounts of Lustre,
Windows), a warning is logged and nothing is locked.
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
    fcntl = None  # type: ignore[assignment]  # checked below

LOCK = "lock"
LOGGER = logging.getLogger("preflens")
_ATTEMPTS = 100  # an attempt fails when another process removes the folder at this moment


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder during the block. It is created if needed, and removed afterwards if it is empty.

    Args:
        folder: folder of the lock file. The lock file may be removed together with the other files.

    Yields:
        Nothing.
    """
    handle = _acquire(folder / LOCK)
    try:
        yield
    finally:
        os.close(handle)  # releases the lock
        with suppress(OSError):
            folder.rmdir()


def refuse_if_locked(folder: Path) -> None:
    """Refuse a folder that another process has locked.

    Args:
        folder: the folder; it need not exist.
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
                _write_holder(handle)
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise InputError(f"`{path}` cannot be locked: another process keeps removing it. Choose another folder.")


def _lock(handle: int, path: Path) -> None:
    """Take the lock, or raise an error that names its holder."""
    try:
        if fcntl is None:
            raise OSError("not supported on this system")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        holder = os.read(handle, 500).decode(errors="replace").strip() or "another process"
        raise InputError(
            f"Another run uses `{path.parent}` ({holder}). Wait until it has ended, or choose another output folder."
        ) from None
    except OSError as error:
        LOGGER.warning(
            "`%s` cannot be locked (%s): make sure that no second run uses this folder at the same time.", path,
            error.strerror or error,
        )  # fmt: skip


def _write_holder(handle: int) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(OSError):  # the lock also holds on a full disk
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}, since {now}\n".encode(), 0)
