"""The panel of cosines."""

from dataclasses import replace

import pyarrow as pa

from preflens.report.panels.cosines import cosines
from tests.cases.records import analysis
from tests.support.pages import traces_of


def test_every_cosine_is_in_the_histogram_and_pairs_without_one_are_counted():
    record = analysis()
    place = record.pairs.schema.get_field_index("cosine")
    column = pa.array([0.5, None, 1.0], pa.float64())
    values = cosines(replace(record, pairs=record.pairs.set_column(place, "cosine", column))).values
    assert traces_of(values["plot"], "cosines")[0]["x"] == [0.5, 1.0]
    assert values["without"] == 1
