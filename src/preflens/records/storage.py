"""Files that are either complete or not there."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from errno import EDQUOT, EISDIR, ENOSPC
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from preflens.errors import InputError

Write = Callable[[Path], object]

_ADVICE = {
    ENOSPC: "Free some space, or choose another folder.",
    EDQUOT: "Free some space, or choose another folder.",
    EISDIR: "A folder stands in its place: move it away, or choose another folder.",
}
RUN = b"preflens.run"  # in the metadata of a table: the run that it belongs to


def write_atomically(path: Path, write: Write) -> None:
    """Write a file beside its place and move it there when it is whole and on the disk.

    Args:
        path: where the file is to stand; its folder exists.
        write: writes the content to the path it is given.

    Raises:
        InputError: the disk is full, something is in the way, or it may not be written there.
    """
    write_together({path: write})


def write_together(files: Mapping[Path, Write]) -> None:
    """Write files that belong together beside their places, and move them there when the last one is whole.

    Where one cannot be written, all that stood there before is untouched.

    Args:
        files: what writes the content of each to the path it is given, by where the file is to stand.

    Raises:
        InputError: the disk is full, something is in the way, or it may not be written there.
    """
    beside = {path: path.with_name(f".{uuid4().hex}{path.suffix}") for path in files}
    path = next(iter(files))
    try:
        for path, write in files.items():
            write(beside[path])
            _put_on_disk(beside[path])
        for path, temporary in beside.items():
            temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        advice = _ADVICE.get(error.errno or 0, "Choose another folder.")
        raise InputError(f"Cannot write `{path}`: {reason}. {advice}") from error
    finally:
        for temporary in beside.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def output_folder(path: Path, files: Sequence[str] = ()) -> Path:
    """Make a folder for results and prove that it can be written to.

    Args:
        path: the folder; parents are made.
        files: names of files that are to be written there later.

    Returns:
        The same path.

    Raises:
        InputError: something else stands there, or the folder cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(
            f"Cannot write to the output folder `{path}`: {error.strerror or error}. Choose another folder."
        ) from None
    for name in files:
        if (path / name).is_dir():
            raise InputError(f"Cannot write `{path / name}`: {os.strerror(EISDIR)}. {_ADVICE[EISDIR]}")
    return path


def write_table(table: pa.Table, path: Path, *, run: str) -> None:
    """Write a table that says which run it belongs to.

    Args:
        table: the table.
        path: of the Parquet file.
        run: names the run.
    """
    pq.write_table(table.replace_schema_metadata({RUN: run.encode()}), path, write_page_checksum=True)


def _put_on_disk(path: Path) -> None:
    """A disk that is full may say so only here."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
