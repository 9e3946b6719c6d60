"""Changes of single held-out pairs: both ways agree, and the cheaper one is described."""

import pytest
import torch

from preflens.analysis.comparison.per_pair import cross_gram, describe_strategy, per_pair_changes, stacked_directions
from preflens.language_models.parameters import observing
from tests.cases.comparisons import model_queries, tokenized
from tests.cases.language_models import tiny_model
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS


@pytest.mark.parametrize("fit", [1, 100])
def test_stacked_directions_and_the_cross_gram_agree(fit):
    model = tiny_model()
    signed = torch.tensor([[[1.0, 0.5], [-1.0, 0.0]], [[0.0, 2.0], [-0.5, -1.0]]], dtype=torch.float64)
    with observing(model, "ln_f"):
        queries = model_queries(model)
        training, held_out = [queries.passes(tokenized(TEXT_ROWS[:2]))], queries.passes(tokenized(PROBE_ROWS))
        one, other = (way(training, held_out, signed, fit=fit) for way in (stacked_directions, cross_gram))
        chosen = per_pair_changes(training, held_out, signed, fit=fit)
    assert one.shape == (2, 2, 3)
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(chosen, one)


def test_the_smaller_side_is_described():
    assert describe_strategy(6, 3) == "6 directions added up over the training pairs"
    assert describe_strategy(7, 3) == "cross-Gram with 6 held-out gradients"
