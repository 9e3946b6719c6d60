"""Saving and loading an analysis."""

import errno
import json
import os
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from preflens import Analysis
from preflens.errors import InputError
from preflens.records.analysis_schema import OBJECTIVES_SCHEMA, PAIRS_SCHEMA
from tests.cases.analyses import ANALYSES, one_pair, typical


@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_survives_save_and_load_bit_for_bit(name, tmp_path):
    analysis = ANALYSES[name]()
    analysis.save(tmp_path)
    loaded = Analysis.load(tmp_path)
    assert loaded.metadata == analysis.metadata
    assert loaded.pairs.equals(analysis.pairs)
    assert loaded.objectives.equals(analysis.objectives)


def test_tables_have_the_documented_columns_with_units():
    analysis = typical()
    assert analysis.pairs.schema.equals(PAIRS_SCHEMA)
    assert analysis.objectives.schema.equals(OBJECTIVES_SCHEMA)
    assert all({b"unit", b"about"} <= set(field.metadata) for field in (*PAIRS_SCHEMA, *OBJECTIVES_SCHEMA))


@pytest.mark.parametrize("version", [0, 4])
def test_an_analysis_of_another_format_is_refused(version, tmp_path):
    replace(typical(), metadata=replace(typical().metadata, format_version=version)).save(tmp_path)
    message = f"has format {version}, written by preflens 0.1.0; this version reads format 3"
    with pytest.raises(ValueError, match=message):
        Analysis.load(tmp_path)


def test_a_record_of_an_older_shape_is_refused_by_its_version_and_not_by_its_shape(tmp_path):
    typical().save(tmp_path)
    (tmp_path / "analysis.json").write_text(json.dumps({"format_version": 0, "versions": {"preflens": "0.0.1"}}))
    with pytest.raises(ValueError, match="has format 0, written by preflens 0.0.1"):
        Analysis.load(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(
        ValueError, match="holds no finished analysis: analysis.json, pairs.parquet, objectives.parquet"
    ):
        Analysis.load(tmp_path)


@pytest.mark.parametrize("file", ["analysis.json", "pairs.parquet", "objectives.parquet"])
def test_damaged_files_are_named(file, tmp_path):
    typical().save(tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:200])
    with pytest.raises(ValueError, match=f"{file}` cannot be read"):
        Analysis.load(tmp_path)


@pytest.mark.parametrize("file", ["pairs.parquet", "objectives.parquet", "analysis.json"])
def test_an_analysis_that_cannot_be_saved_whole_leaves_the_older_one_whole(file, tmp_path, monkeypatch):
    typical().save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    sync, written = os.fsync, []

    def fail(handle):
        written.append(handle)
        if len(written) == ["pairs.parquet", "objectives.parquet", "analysis.json"].index(file) + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match=f"Cannot write `.*/{file}`: No space left on device"):
        one_pair().save(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("file", ["pairs.parquet", "objectives.parquet"])
def test_tables_of_another_run_are_told_apart_even_where_they_fit(file, tmp_path):
    metadata = replace(typical().metadata, created="2020-01-01T00:00:00+00:00")
    typical().save(tmp_path / "a")
    replace(typical(), metadata=metadata).save(tmp_path / "b")
    (tmp_path / "a" / file).write_bytes((tmp_path / "b" / file).read_bytes())
    with pytest.raises(InputError, match=f"{file}` belongs to another run than the metadata beside it"):
        Analysis.load(tmp_path / "a")


def test_tables_written_before_they_said_which_run_they_belong_to_are_read(tmp_path):
    typical().save(tmp_path)
    for name in ("pairs.parquet", "objectives.parquet"):
        pq.write_table(pq.read_table(tmp_path / name).replace_schema_metadata(None), tmp_path / name)
    assert Analysis.load(tmp_path).pairs.equals(typical().pairs)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop_columns(["id", "cosine"]), "has no column `id`: it is not a table of `preflens analyze`"),
        (lambda t: t.slice(1), "should have 6 rows. Found 5"),
        (lambda t: t.set_column(1, "prompt_tokens", [["many"] * t.num_rows]), "cannot be read: .*many"),
        (lambda t: t.set_column(1, "prompt_tokens", [[[1]] * t.num_rows]), "cannot be read"),
    ],
    ids=["columns", "rows", "texts for numbers", "lists for numbers"],
)
def test_a_table_of_something_else_is_named(change, words, tmp_path):
    typical().save(tmp_path)
    pq.write_table(change(typical().pairs), tmp_path / "pairs.parquet")
    with pytest.raises(InputError, match=f"pairs.parquet` {words}"):
        Analysis.load(tmp_path)


def changed(**entries):
    return lambda record: record | entries


def only(**entries):
    return lambda _: entries


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda record: [record], "cannot be read .it has no format version"),
        (only(a=1), "cannot be read .it has no format version"),
        (only(format_version=3), "cannot be read .`created` is missing"),
        (only(format_version=0, versions=None), "has format 0; this version reads format 3"),
        (changed(update_batches="3"), "`update_batches` should be of type list. Found str"),
        (changed(objectives={"dpo": 1}), "`objectives` should be of type list. Found dict"),
        (changed(seconds=[]), "`seconds` should be of type dict. Found list"),
        (changed(model=None), "`model` should be of type dict. Found NoneType"),
        (changed(seconds={"total": float("nan")}), "NaN is not a number that a record can hold"),
        (changed(arguments={"limit": [1]}), r"`arguments.limit` should be of type \w+. Found list"),
    ],
)
def test_facts_of_something_else_are_named(change, words, tmp_path):
    typical().save(tmp_path)
    path = tmp_path / "analysis.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=f"analysis.json` .*{words}"):
        Analysis.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe{", b"[" * 10**5, b"\0" * 100])
def test_facts_that_are_no_text_or_no_json_are_named(content, tmp_path):
    typical().save(tmp_path)
    (tmp_path / "analysis.json").write_bytes(content)
    with pytest.raises(InputError, match="analysis.json` cannot be read"):
        Analysis.load(tmp_path)


@pytest.mark.parametrize("file", ["pairs.parquet", "objectives.parquet"])
def test_a_changed_byte_of_a_table_is_refused_or_changes_nothing(file, tmp_path):
    typical().save(tmp_path)
    whole = (tmp_path / file).read_bytes()
    for place in range(4, len(whole), len(whole) // 300):
        (tmp_path / file).write_bytes(whole[:place] + bytes([whole[place] ^ 0x81]) + whole[place + 1 :])
        try:
            again = Analysis.load(tmp_path)
        except InputError:
            continue
        assert again.pairs.equals(typical().pairs), place
        assert again.objectives.equals(typical().objectives), place
