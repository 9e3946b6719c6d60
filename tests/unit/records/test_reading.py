"""Reading saved results: what is wrong is named."""

import json

import pyarrow as pa
import pytest

from preflens.errors import InputError
from preflens.records.reading import check_rows, is_file, read_table, require_files, run_name
from preflens.records.storage import write_table
from tests.cases.analyses import one_pair

SCHEMA = pa.schema([("id", pa.string()), ("value", pa.float64())])
TABLE = pa.table({"id": ["a"], "value": [1.5]}, schema=SCHEMA)


def test_missing_files_are_named(tmp_path):
    (tmp_path / "a").touch()
    require_files(tmp_path, ["a"], what="analysis", command="preflens analyze")
    with pytest.raises(InputError, match="holds no finished analysis: b, c not found. Pass the folder that `preflens"):
        require_files(tmp_path, ["a", "b", "c"], what="analysis", command="preflens analyze")
    assert is_file(tmp_path / "a")
    assert not is_file(tmp_path)


def test_a_table_of_another_run_is_refused_and_one_without_a_name_is_read(tmp_path):
    write_table(TABLE, tmp_path / "t.parquet", run="one")
    assert read_table(tmp_path / "t.parquet", SCHEMA, command="x", run="one").equals(TABLE)
    with pytest.raises(InputError, match="belongs to another run than the metadata beside it. Run `x` again"):
        read_table(tmp_path / "t.parquet", SCHEMA, command="x", run="other")
    pa.parquet.write_table(TABLE, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", SCHEMA, command="x", run="other").num_rows == 1


def test_the_number_of_rows_is_checked(tmp_path):
    check_rows(tmp_path, TABLE, 1, command="x")
    with pytest.raises(InputError, match="should have 2 rows. Found 1. Run `x` again"):
        check_rows(tmp_path, TABLE, 2, command="x")


def test_runs_have_names_of_their_own():
    metadata = one_pair().metadata
    from dataclasses import replace

    assert run_name(metadata) == run_name(replace(metadata))
    assert run_name(metadata) != run_name(replace(metadata, created="2000-01-01"))
    assert run_name(metadata) != run_name(replace(metadata, seconds=json.loads('{"total": 1.0}')))
