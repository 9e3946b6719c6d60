"""Reading what a run has saved, and what can be wrong with it."""

import json
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from preflens.errors import InputError
from preflens.records.analysis_metadata import AnalysisMetadata
from preflens.records.comparison_metadata import ComparisonMetadata
from preflens.records.json_codec import from_json, to_json
from preflens.records.storage import RUN

T = TypeVar("T")


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
    missing = [name for name in names if not is_file(folder / name)]
    if missing:
        raise InputError(
            f"`{folder}` holds no finished {what}: {', '.join(missing)} not found. "
            f"Pass the folder that `{command}` wrote."
        )


def is_file(path: Path) -> bool:
    """Tell whether a file is there that can be seen; a folder that may not be looked into holds none.

    Args:
        path: of the file.

    Returns:
        Whether it is.
    """
    return os.path.isfile(path)  # `Path.is_file` raises where something is in the way


def read_metadata(kind: type[T], path: Path, *, version: int, command: str) -> T:
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
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text)
        found = record["format_version"]
        metadata = from_json(kind, text) if found == version else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = "it says no format" if isinstance(error, (KeyError, TypeError)) else error
        raise InputError(f"`{path}` cannot be read ({reason}). Run `{command}` again.") from None
    if metadata is None:
        writer = record.get("versions")
        by = f", written by preflens {writer.get('preflens', '?')}" if isinstance(writer, dict) else ""
        raise InputError(
            f"`{path}` has format {found}{by}; this version reads format {version}. Run `{command}` again."
        )
    return metadata


def read_table(path: Path, schema: pa.Schema, *, command: str, run: str) -> pa.Table:
    """Read a table of a run.

    Args:
        path: the Parquet file.
        schema: its columns.
        command: that writes it.
        run: that the table should belong to; a table that does not say which is taken.

    Returns:
        The table.

    Raises:
        InputError: the file is damaged, has other columns, or belongs to another run.
    """
    try:
        there = pq.read_schema(path)
        missing = [name for name in schema.names if name not in there.names]
        table = None if missing else pq.read_table(path, schema=schema, page_checksum_verification=True)
        if table is not None:
            table.validate(full=True)  # texts that are no UTF-8
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"`{path}` cannot be read: {error}. Run `{command}` again.") from None
    if table is None:
        raise InputError(
            f"`{path}` has no column `{missing[0]}`: it is no table of `{command}`, or of another version."
        )
    if (there.metadata or {}).get(RUN, run.encode()) != run.encode():
        raise InputError(f"`{path}` belongs to another run than the facts beside it. Run `{command}` again.")
    return table


def check_rows(path: Path, table: pa.Table, rows: int, *, command: str) -> None:
    """Refuse a table with other rows than the facts speak of.

    Args:
        path: where it was read from.
        table: of it.
        rows: how many there should be.
        command: that writes it.

    Raises:
        InputError: there are fewer or more.
    """
    if table.num_rows != rows:
        raise InputError(f"`{path}` should have {rows} rows. Found {table.num_rows}. Run `{command}` again.")


def run_name(metadata: AnalysisMetadata | ComparisonMetadata) -> str:
    """Name a run, so that files of two runs are told apart.

    Args:
        metadata: about it; date, time taken to the millisecond, data and model.

    Returns:
        Hexadecimal digits.
    """
    parts = (metadata.created, to_json(metadata.seconds), metadata.data.fingerprint, metadata.model.fingerprint)
    return blake2b(" ".join(parts).encode(), digest_size=12).hexdigest()
