"""Rows of json, jsonl, parquet and csv files, each with the place it stands in."""

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from preflens.errors import InputError

Row = tuple[str, Mapping[str, object]]  # where it stands, and its cells

_FILE_KINDS = ".json, .jsonl, .json.gz, .jsonl.gz, .parquet or .csv"


def file_rows(path: Path) -> Iterator[Row]:
    """Read a file row by row.

    Args:
        path: an existing file; its ending says what it is.

    Returns:
        Place (file and line or row) and cells of each row.

    Raises:
        InputError: the file is of another kind, damaged, or not UTF-8.
    """
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix == ".parquet":
        return _parquet_rows(path)
    if suffix in {".json", ".jsonl"}:
        return _json_rows(path, _decoded(path))
    if suffix == ".csv":
        return _csv_rows(path)
    raise InputError(f"`{path}` is not a kind of file that can be read. Expected {_FILE_KINDS}.")


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError) as error:
        raise InputError(f"`{path}` is not a whole gzip file: {error}. Download or compress it again.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"`{path}` is not UTF-8 text: {error.reason} at byte {error.start}.") from None
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror}.") from None


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    if text.lstrip().startswith("["):
        yield from _json_array(path, text)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"`{path}`, line {number}"
            yield place, _json_object(line, place)


def _json_array(path: Path, text: str) -> Iterator[Row]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"`{path}`, line {error.lineno}: not JSON ({error.msg}).") from None
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"`{path}`, row {number}: expected a JSON object. Found {type(row).__name__}.")
        yield f"`{path}`, row {number}", row


def _json_object(line: str, place: str) -> Mapping[str, object]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not JSON ({error.msg} at character {error.pos + 1}).") from None
    if not isinstance(row, dict):
        raise InputError(f"{place}: expected a JSON object. Found {type(row).__name__}.")
    return row


def _csv_rows(path: Path) -> Iterator[Row]:
    text = _decoded(path)
    limit = csv.field_size_limit(len(text) + 1)  # the default refuses long prompts
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            place = f"`{path}`, line {reader.line_num}"
            if None in row:
                raise InputError(f"{place}: more cells than the header has columns. Is a comma not quoted?")
            yield place, row
    except csv.Error as error:
        raise InputError(f"`{path}`, after line {reader.line_num}: not CSV ({error}).") from None
    finally:
        csv.field_size_limit(limit)


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"`{path}` is not a Parquet file that can be read: {error}.") from None
    return ((f"`{path}`, row {i}", row) for i, row in enumerate(rows))
