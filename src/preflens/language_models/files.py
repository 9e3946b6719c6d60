"""Rows of json, jsonl, parquet and csv files, each with its file and line."""

import csv
import gzip
import io
import json
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from preflens.errors import InputError
from preflens.language_models.model_names import first_line

# File and line, and the cells of a row, or the error of this row if the rows after it can still be read.
Row = tuple[str, Mapping[str, object] | InputError]

_FILE_KINDS = ".json, .jsonl, .json.gz, .jsonl.gz, .parquet or .csv"


def file_rows(path: Path) -> Iterator[Row]:
    """Read a file row by row.

    Args:
        path: an existing file; its suffix determines the format.

    Returns:
        File and line (or row), and the cells of each row or its error.

    Raises:
        InputError: the format is unknown, or the whole file is damaged.
    """
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix == ".parquet":
        return _parquet_rows(path)
    if suffix in {".json", ".jsonl"}:
        return _json_rows(path, _content(path))
    if suffix == ".csv":
        return _csv_rows(path)
    raise InputError(f"`{path}` is not a kind of file that can be read. Expected {_FILE_KINDS}.")


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"`{path}` is not a whole gzip file: {error}. Download or compress it again.") from None
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror}.") from None
    return content.removeprefix(BOM_UTF8)


def _decoded(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{place} is not UTF-8 text: {error.reason} at byte {error.start}.") from None


def _json_rows(path: Path, content: bytes) -> Iterator[Row]:
    if content.lstrip().startswith(b"["):
        yield from _json_array(path, _decoded(content, f"`{path}`"))
        return
    lines = content.split(b"\n")
    valid = True
    for number, line in enumerate(lines, start=1):
        place = f"`{path}`, line {number}"
        if not line.strip():
            continue
        try:
            row: Mapping[str, object] | InputError = _json_object(_decoded(line, place), place)
        except InputError as error:
            if valid:
                _refuse_object_over_lines(b"\n".join(lines[number - 1 :]), place)
            row, valid = error, False
        yield place, row


def _json_array(path: Path, text: str) -> Iterator[Row]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"`{path}`, line {error.lineno}: not JSON ({error.msg}).") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"`{path}`: not JSON that can be read ({first_line(error)}).") from None
    for number, row in enumerate(rows):
        place = f"`{path}`, row {number}"
        yield place, row if isinstance(row, dict) else _no_object(row, place)


def _json_object(line: str, place: str) -> Mapping[str, object]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not JSON ({error.msg} at character {error.pos + 1}).") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON that can be read ({first_line(error)}).") from None
    if not isinstance(row, dict):
        raise _no_object(row, place)
    return row


def _no_object(row: object, place: str) -> InputError:
    return InputError(f"{place}: expected a JSON object. Found {type(row).__name__}.")


def _refuse_object_over_lines(rest: bytes, place: str) -> None:
    """Raise if a JSON object spans several lines, as editors format it, instead of reporting a broken line."""
    try:
        value, _ = json.JSONDecoder().raw_decode(rest.decode("utf-8").lstrip())
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict):
        inside = next((name for name, cell in value.items() if isinstance(cell, list)), None)
        hint = f" Its `{inside}` is an array: save that by itself." if inside and "chosen" not in value else ""
        raise InputError(f"{place}: a JSON object over several lines. Expected an array, or one object per line.{hint}")


def _csv_rows(path: Path) -> Iterator[Row]:
    text = _decoded(_content(path), f"`{path}`")
    limit = csv.field_size_limit(len(text) + 1)  # the default refuses long prompts
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            place = f"`{path}`, line {reader.line_num}"
            if None in row:
                yield place, InputError(f"{place}: more cells than the header has columns. Is a comma not quoted?")
            else:
                yield place, row
    except csv.Error as error:
        raise InputError(f"`{path}`, after line {reader.line_num}: not CSV ({error}).") from None
    finally:
        csv.field_size_limit(limit)


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        with path.open("rb") as file:  # Arrow accepts no file names that are not UTF-8
            table = pq.read_table(file)
        rows = table.to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"`{path}` is not a Parquet file that can be read: {error}.") from None
    return ((f"`{path}`, row {i}", _out_of_json(row, table.schema)) for i, row in enumerate(rows))


def _out_of_json(row: Mapping[str, object], schema: pa.Schema) -> Mapping[str, object]:
    """`datasets` saves fields that differ between rows (messages with tool calls) as JSON, with its own Arrow type."""
    return {field.name: _value(row[field.name], field.type) for field in schema}


def _value(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401  # the nodes of a JSON tree
    if value is None:
        return None
    if isinstance(kind, pa.JsonType):
        return json.loads(value)
    if pa.types.is_struct(kind):
        return {field.name: _value(value[field.name], field.type) for field in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [_value(entry, kind.value_type) for entry in value]
    return value
