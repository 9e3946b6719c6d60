"""A comparison survives its files."""

import json

import pytest

from preflens import Comparison
from preflens.errors import InputError
from preflens.records.comparison_schema import COMPARE_SCHEMA, HELD_OUT_SCHEMA, TRAINING_SCHEMA
from tests.cases.comparisons import COMPARISONS, typical


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_survives_save_and_load_bit_for_bit(name, tmp_path):
    found = COMPARISONS[name]()
    found.save(tmp_path)
    again = Comparison.load(tmp_path)
    assert again.metadata == found.metadata
    assert all(getattr(again, t).equals(getattr(found, t)) for t in ("rows", "pairs", "held_out"))
    assert {p.name for p in tmp_path.iterdir()} == {
        "compare.json", "compare.parquet", "compare_pairs.parquet", "compare_heldout.parquet"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["compare.json", "compare.parquet", "compare_heldout.parquet"])
def test_a_missing_or_damaged_file_is_named(name, tmp_path):
    typical().save(tmp_path)
    (tmp_path / name).write_bytes(b"{")
    with pytest.raises(InputError, match=f"{name}` cannot be read.*Run `preflens compare` again"):
        Comparison.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"holds no finished comparison: {name} not found"):
        Comparison.load(tmp_path)


def test_another_format_is_refused(tmp_path):
    typical().save(tmp_path)
    record = json.loads((tmp_path / "compare.json").read_text())
    (tmp_path / "compare.json").write_text(json.dumps(record | {"format_version": 99}))
    with pytest.raises(InputError, match="has format 99"):
        Comparison.load(tmp_path)


def test_every_column_has_a_unit_and_a_meaning():
    for schema in (COMPARE_SCHEMA, TRAINING_SCHEMA, HELD_OUT_SCHEMA):
        for column in schema:
            assert column.metadata[b"about"], column.name
            assert b"unit" in column.metadata
