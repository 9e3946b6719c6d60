"""Rows of files, with file and line; errors of single rows and of whole files."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preflens.errors import InputError
from preflens.language_models.files import file_rows

ROWS = [{"chosen": "a", "rejected": "b"}, {"chosen": "c\nd", "rejected": "e"}]


def written(path):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif path.suffix == ".csv":
        path.write_text('chosen,rejected\na,b\n"c\nd",e\n')
    else:
        path.write_text(json.dumps(ROWS) if path.suffix == ".json" else "\ufeff" + lines)
    return path


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.jsonl.gz", "x.parquet", "x.csv"])
def test_every_format_has_the_same_rows(tmp_path, name):
    places, rows = zip(*file_rows(written(tmp_path / name)), strict=True)
    assert list(rows) == ROWS
    assert places[0].startswith(f"`{tmp_path / name}`, ")


def test_a_broken_line_is_the_error_of_that_line_only(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"chosen": "a"}\n{"chosen": \n[1]\n{"chosen": "b"}\n')
    rows = [row for _, row in file_rows(path)]
    assert rows[0] == {"chosen": "a"}
    assert "line 2: not JSON" in str(rows[1])
    assert "line 3: expected a JSON object. Found list" in str(rows[2])
    assert rows[3] == {"chosen": "b"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "is not a kind of file that can be read"),
        ("x.json.gz", b"no gzip", "is not a whole gzip file"),
        ("x.parquet", b"no parquet", "is not a Parquet file"),
        ("x.json", b"[1,", "line 1: not JSON"),
        ("x.json", b"[\xff]", "is not UTF-8 text"),
        (
            "x.jsonl",
            b'{\n"data": [1],\n"n": 2}',
            "a JSON object over several lines.*one object per line. Its `data` is",
        ),
    ],
)
def test_a_file_that_is_damaged_as_a_whole_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(file_rows(path))


def test_a_row_with_more_cells_than_columns_is_its_own_error(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("chosen,rejected\na,b,c\nd,e\n")
    rows = [row for _, row in file_rows(path)]
    assert "line 2: more cells than the header has columns" in str(rows[0])
    assert rows[1] == {"chosen": "d", "rejected": "e"}
