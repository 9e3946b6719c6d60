"""Metrics of a mitigated update batch."""

import math

import pytest
import torch

from preflens.mitigations import Mitigated
from preflens.training.mitigation.report import mitigation_metrics
from preflens.types import BatchGram, PairCoefficients, PairGram


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


BEFORE = PairCoefficients(vector(1.0, 1.0), vector(1.0, 1.0))


def test_the_change_is_the_mean_over_treated_pairs_without_those_of_constraints():
    after = PairCoefficients(vector(2.0, 5.0, 100.0), vector(1.0, 5.0, 1.0))
    mitigated = Mitigated(after, torch.tensor([False, True]), report={"size": 0.5})
    gram = PairGram(vector(1.0, 1.0), vector(1.0, 1.0), vector(0.5, -0.1))
    assert mitigation_metrics(mitigated, BEFORE, gram) == pytest.approx({
        "mitigation/untreated": 0.5,
        "mitigation/size": 0.5,
        "mitigation/log_ratio_change": math.log(2),
        "mitigation/cosine": 0.2,
    })


def test_a_batch_without_treated_pairs_has_no_change():
    mitigated = Mitigated(BEFORE, torch.tensor([True, True]))
    gram = BatchGram(torch.eye(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64))
    assert mitigation_metrics(mitigated, BEFORE, gram) == {"mitigation/untreated": 1.0, "mitigation/cosine": 0.0}
