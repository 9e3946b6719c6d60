"""Means over the tables of an analysis, by hand."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from preflens.analysis.summaries.statistics import (
    same_directions,
    summarize_geometry,
    summarize_layers,
    summarize_objectives,
)
from preflens.objectives import dpo
from tests.cases.analyses import typical
from tests.support.hand_made import geometry


def test_means_and_ratios_of_the_geometry_by_hand():
    pairs = pa.table({
        "chosen_sq_norm": [1.0, 9.0], "rejected_sq_norm": [4.0, 16.0], "inner_product": [1.0, 6.0],
        "cosine": [0.5, None],
    })  # fmt: skip
    result = summarize_geometry(pairs)
    assert result.chosen_norm.value == 2.0
    assert result.rejected_norm.value == 3.0
    assert result.cosine.value == 0.5  # the missing one is left out
    assert result.chosen_ratio.value == pytest.approx(7 / 10)
    assert result.rejected_ratio.value == pytest.approx(7 / 20)


def test_layers_are_averaged_over_the_pairs_of_all_batches():
    batches = [geometry([[1.0, 0.0], [0.0, 1.0]]), geometry([[2.0, 0.0], [1.0, 1.0]])]
    (layer,) = summarize_layers(batches)
    assert (layer.name, layer.chosen_sq_norm, layer.rejected_sq_norm, layer.inner_product) == ("layer", 2.5, 1.5, 1.0)


def test_objectives_share_a_direction_only_if_one_is_a_positive_multiple_of_the_other():
    base = np.array([[1.0, 2.0], [3.0, 4.0]])
    labels = {"a": base, "b": 2 * base, "c": -base, "d": base + 1, "e": 3 * (base + 1), "zero": 0 * base}
    assert same_directions(labels) == {"a": None, "b": "a", "c": None, "d": None, "e": "d", "zero": None}


def test_shares_and_counts_are_of_the_pairs_that_their_names_say():
    """Four of six slacks are above zero, one is zero and one is undefined; three pairs have a coefficient ≤ 0."""
    record = typical()
    rows = record.objectives.filter(pc.field("objective") == "dpo")
    columns = {
        "band_slack": [0.1, 0.2, 0.3, 0.4, 0.0, None],
        "chosen_coefficient": [1.0, -1.0, 1.0, 1.0, 0.0, 1.0],
        "rejected_coefficient": [1.0, 1.0, 1.0, 1.0, 1.0, -0.5],
    }
    for name, values in columns.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), pa.array(values, pa.float64()))
    (summary,) = summarize_objectives({"dpo": dpo()}, record.pairs, rows)
    assert summary.inside_band.value == pytest.approx(4 / 6)
    assert summary.negative == 3
