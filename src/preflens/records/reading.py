"""Read saved results, with named errors for files that are missing, damaged or of another run."""

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
        folder: the folder.
        names: names of the files.
        what: kind of result, for the message.
        command: command that writes the files.

    Raises:
        InputError: a file is missing.
    """
    missing = [name for name in names if not is_file(folder / name)]
    if missing:
        raise InputError(
            f"`{folder}` holds no finished {what}: {', '.join(missing)} not found. "
            f"Pass the folder that `{command}` wrote."
        )


def is_file(path: Path) -> bool:
    """Return whether a path is a readable file. A folder without access rights counts as empty.

    Args:
        path: path of the file.

    Returns:
        True if it is a file.
    """
    return os.path.isfile(path)  # `Path.is_file` raises without access rights


def read_metadata(kind: type[T], path: Path, *, version: int, command: str) -> T:
    """Read the metadata of a run.

    Args:
        kind: class of the record, with a field `format_version`.
        path: the JSON file.
        version: the format that can be read.
        command: command that writes the file.

    Returns:
        The record.

    Raises:
        InputError: the file is damaged, or of another format.
    """
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text)
        file_version = record["format_version"]
        metadata = from_json(kind, text) if file_version == version else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = "it has no format version" if isinstance(error, (KeyError, TypeError)) else error
        raise InputError(f"`{path}` cannot be read ({reason}). Run `{command}` again.") from None
    if metadata is None:
        writer = record.get("versions")
        by = f", written by preflens {writer.get('preflens', '?')}" if isinstance(writer, dict) else ""
        raise InputError(
            f"`{path}` has format {file_version}{by}; this version reads format {version}. Run `{command}` again."
        )
    return metadata


def read_table(path: Path, schema: pa.Schema, *, command: str, run: str) -> pa.Table:
    """Read a table of a run.

    Args:
        path: the Parquet file.
        schema: schema of the columns.
        command: command that writes the file.
        run: name of the run that the table should belong to. A table without a run name is accepted.

    Returns:
        The table.

    Raises:
        InputError: the file is damaged, has other columns, or belongs to another run.
    """
    try:
        file_schema = pq.read_schema(path)
        missing = [name for name in schema.names if name not in file_schema.names]
        table = None if missing else pq.read_table(path, schema=schema, page_checksum_verification=True)
        if table is not None:
            table.validate(full=True)  # finds texts that are not UTF-8
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"`{path}` cannot be read: {error}. Run `{command}` again.") from None
    if table is None:
        raise InputError(
            f"`{path}` has no column `{missing[0]}`: it is not a table of `{command}`, or of another version."
        )
    if (file_schema.metadata or {}).get(RUN, run.encode()) != run.encode():
        raise InputError(f"`{path}` belongs to another run than the metadata beside it. Run `{command}` again.")
    return table


def check_rows(path: Path, table: pa.Table, rows: int, *, command: str) -> None:
    """Refuse a table whose number of rows does not match the metadata.

    Args:
        path: the file.
        table: the table.
        rows: expected number of rows.
        command: command that writes the file.

    Raises:
        InputError: the number is different.
    """
    if table.num_rows != rows:
        raise InputError(f"`{path}` should have {rows} rows. Found {table.num_rows}. Run `{command}` again.")


def run_name(metadata: AnalysisMetadata | ComparisonMetadata) -> str:
    """Name a run, so that files of different runs can be told apart.

    Args:
        metadata: metadata of the run. The name depends on date, run time in milliseconds, data and model.

    Returns:
        Hexadecimal digits.
    """
    parts = (metadata.created, to_json(metadata.seconds), metadata.data.fingerprint, metadata.model.fingerprint)
    return blake2b(" ".join(parts).encode(), digest_size=12).hexdigest()
