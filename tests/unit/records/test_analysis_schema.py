"""Columns of the tables of an analysis carry unit and meaning."""

import pyarrow as pa
import pytest

from preflens.records.analysis_schema import OBJECTIVES_SCHEMA, PAIRS_SCHEMA, table_schema


def test_a_schema_keeps_unit_and_meaning():
    field = table_schema([("a", pa.int64(), "nats", "a number")]).field("a")
    assert (field.type, field.metadata) == (pa.int64(), {b"unit": b"nats", b"about": b"a number"})


@pytest.mark.parametrize("schema", [PAIRS_SCHEMA, OBJECTIVES_SCHEMA])
def test_every_column_says_what_it_is(schema):
    assert all(field.metadata[b"about"] for field in schema)
    assert schema.names[0] == "id"
    assert {f.metadata[b"unit"] for f in schema if f.name.endswith(("_logp", "_change"))} == {b"nats"}
