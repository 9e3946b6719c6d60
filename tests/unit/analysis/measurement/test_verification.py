"""Forecast beside fact: what slope, correlation and signs mean."""

import pytest

from preflens.analysis.measurement.forward_passes import PassLimit, PolicyScorer, make_passes
from preflens.analysis.measurement.geometry import BatchGeometry, batch_geometry
from preflens.analysis.measurement.verification import verify_objective
from preflens.language_models.parameters import observing
from preflens.objectives import dpo
from preflens.types import BatchGram
from tests.cases.comparisons import tokenized
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_slope_is_of_the_fact_on_the_forecast(factor):
    """Forecasts that are too large by a factor, of a step that is as small: the fact is one over the factor of them."""
    model = tiny_model()
    with observing(model, "all"):
        pairs = tokenized(TEXT_ROWS)
        passes = make_passes(PolicyScorer.of(model, tiny_tokenizer(), pairs), pairs, PassLimit(pairs=6))
        true = batch_geometry(passes, "self")
        wrong = BatchGeometry(true.logps, BatchGram(factor * true.gram.matrix, true.gram.logps), true.by_layer)
        found = verify_objective("dpo", dpo(), [passes], [wrong])
    assert found.slope == pytest.approx(1 / factor, rel=0.02)
    assert found.correlation > 0.999
    assert found.signs_right == 1.0
