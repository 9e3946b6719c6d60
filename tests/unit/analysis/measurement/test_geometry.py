"""Geometry of an update batch: log-probs, reference and layers."""

import pytest
import torch

from preflens.analysis.measurement.geometry import batch_geometry
from preflens.errors import NumericalError
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.language_models.parameters import observing
from tests.cases.comparisons import model_queries, tokenized
from tests.cases.language_models import tiny_model
from tests.cases.pairs import TEXT_ROWS


def measured(model, reference="self"):
    with observing(model, "ln_f"):
        return batch_geometry(model_queries(model).passes(tokenized(TEXT_ROWS[:3])), reference)


def test_log_probs_of_policy_and_reference_are_those_of_the_models():
    model, other = tiny_model(), tiny_model(seed=1)
    geometry = measured(model, other)
    batch = collate(tokenized(TEXT_ROWS[:3]), pad_token_id=0)
    with torch.no_grad():
        policy, reference = response_logps(model, batch).chunk(2), response_logps(other, batch).chunk(2)
    torch.testing.assert_close(geometry.logps.chosen, policy[0])
    torch.testing.assert_close(geometry.logps.ref_rejected, reference[1])
    assert geometry.logps.chosen_tokens.tolist() == [7, 5, 2]


def test_without_a_reference_there_are_no_reference_log_probs():
    assert measured(tiny_model(), "none").logps.ref_chosen is None


def test_layers_add_up_to_the_gram_of_the_pairs():
    geometry = measured(tiny_model())
    torch.testing.assert_close(geometry.by_layer.inner_product.sum(0), geometry.gram.pair_gram().inner_product)


def test_a_log_prob_that_is_not_finite_is_named_with_its_pair():
    model = tiny_model()
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(torch.nan)
    with pytest.raises(NumericalError, match="of pair `sky` is nan"):
        measured(model)
