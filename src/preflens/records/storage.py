"""Write files completely or not at all."""

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
    EISDIR: "A folder has this name: move it away, or choose another folder.",
}
RUN = b"preflens.run"  # key in the metadata of a table: name of the run that it belongs to


def write_atomically(path: Path, write: Write) -> None:
    """Write a temporary file and rename it when it is complete and on the disk.

    Args:
        path: path of the file, in an existing folder.
        write: function that writes the content to a given path.

    Raises:
        InputError: the disk is full, a folder has this name, or the folder is not writable.
    """
    write_together({path: write})


def write_together(files: Mapping[Path, Write]) -> None:
    """Write several temporary files and rename them when all are complete and on the disk.

    If one cannot be written, no existing file is changed.

    Args:
        files: function that writes the content to a given path, by path of the file.

    Raises:
        InputError: the disk is full, a folder has this name, or the folder is not writable.
    """
    temporaries = {path: path.with_name(f".{uuid4().hex}{path.suffix}") for path in files}
    path = next(iter(files))
    try:
        for path, write in files.items():
            write(temporaries[path])
            _put_on_disk(temporaries[path])
        for path, temporary in temporaries.items():
            temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        advice = _ADVICE.get(error.errno or 0, "Choose another folder.")
        raise InputError(f"Cannot write `{path}`: {reason}. {advice}") from error
    finally:
        for temporary in temporaries.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def output_folder(path: Path, files: Sequence[str] = ()) -> Path:
    """Create a folder for results and check that it is writable.

    Args:
        path: the folder. Parents are created.
        files: names of files that will be written there.

    Returns:
        The same path.

    Raises:
        InputError: a file has this name, or the folder cannot be created or written to.
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
    """Write a table with the name of its run.

    Args:
        table: the table.
        path: path of the Parquet file.
        run: name of the run.
    """
    pq.write_table(table.replace_schema_metadata({RUN: run.encode()}), path, write_page_checksum=True)


def _put_on_disk(path: Path) -> None:
    """Flush a file to the disk. A full disk may raise only here."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
