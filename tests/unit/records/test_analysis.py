"""Saving and loading an analysis."""

import json
from dataclasses import replace

import pytest

from preflens import Analysis
from preflens.records.tables import OBJECTIVES_SCHEMA, PAIRS_SCHEMA
from tests.cases.analyses import ANALYSES, typical


@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_survives_save_and_load_bit_for_bit(name, tmp_path):
    analysis = ANALYSES[name]()
    analysis.save(tmp_path)
    loaded = Analysis.load(tmp_path)
    assert loaded.facts == analysis.facts
    assert loaded.pairs.equals(analysis.pairs)
    assert loaded.objectives.equals(analysis.objectives)


def test_tables_have_the_documented_columns_with_units():
    analysis = typical()
    assert analysis.pairs.schema.equals(PAIRS_SCHEMA)
    assert analysis.objectives.schema.equals(OBJECTIVES_SCHEMA)
    assert all({b"unit", b"about"} <= set(field.metadata) for field in (*PAIRS_SCHEMA, *OBJECTIVES_SCHEMA))


def test_an_analysis_of_another_format_is_refused(tmp_path):
    replace(typical(), facts=replace(typical().facts, format_version=0)).save(tmp_path)
    with pytest.raises(ValueError, match="has format 0, written by preflens 0.1.0; this version reads format 2"):
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
