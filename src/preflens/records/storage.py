"""Files that are either complete or not there, and what can be wrong with them when they are read again."""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from preflens.errors import InputError
from preflens.records.json_codec import from_json

T = TypeVar("T")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there when it is whole.

    Args:
        path: where the file is to stand; its folder exists.
        write: writes the content to the path it is given.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)  # mkstemp makes private files
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def output_folder(path: Path) -> Path:
    """Make a folder for results and prove that it can be written to.

    Args:
        path: the folder; parents are made.

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
    return path


def require_files(folder: Path, names: Sequence[str], *, what: str, command: str) -> None:
    """Refuse a folder that does not hold the files of a finished run.

    Args:
        folder: to look in.
        names: of the files.
        what: the run makes.
        command: that makes it.

    Raises:
        InputError: one is missing.
    """
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"`{folder}` holds no finished {what}: {', '.join(missing)} not found. "
            f"Pass the folder that holds the results of `{command}`."
        )


def read_facts(kind: type[T], path: Path, *, version: int, command: str) -> T:
    """Read the facts of a run.

    Args:
        kind: their record; it has a `format_version`.
        path: the JSON file.
        version: the format that can be read.
        command: that writes it.

    Returns:
        The record.

    Raises:
        InputError: the file is damaged, or of another format.
    """
    text = path.read_text(encoding="utf-8")
    try:
        record = json.loads(text)
        found = record["format_version"]
        facts = from_json(kind, text) if found == version else None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"`{path}` cannot be read ({error}). Run `{command}` again.") from None
    if facts is None:
        raise InputError(
            f"`{path}` has format {found}, written by preflens {record.get('versions', {}).get('preflens', '?')}; this "
            f"version reads format {version}. Run `{command}` again."
        )
    return facts


def read_table(path: Path, schema: pa.Schema, *, command: str) -> pa.Table:
    """Read a table of a run.

    Args:
        path: the Parquet file.
        schema: its columns.
        command: that writes it.

    Returns:
        The table.

    Raises:
        InputError: the file is damaged, or has other columns.
    """
    try:
        return pq.read_table(path, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise InputError(f"`{path}` cannot be read: {error}. Run `{command}` again.") from None
