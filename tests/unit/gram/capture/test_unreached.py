"""Parameters that no gradient reaches."""

import pytest
import torch
from torch import nn

from preflens.errors import UnsupportedModelError
from preflens.gram.capture.unreached import check_reached

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


def case(factor):
    layer = nn.Linear(3, 1)
    names = {p: f"layer.{name}" for name, p in layer.named_parameters()}
    return layer, names, lambda: (factor * layer(X)).squeeze(1)


def test_parameters_with_influence_are_refused_by_their_first_name():
    layer, names, forward = case(1.0)
    with pytest.raises(UnsupportedModelError, match="No gradient reaches `layer.bias` and 1 other parameters") as error:
        check_reached(set(layer.parameters()), names, forward)
    assert "the log-probs depend on them" in str(error.value)
    with pytest.raises(UnsupportedModelError, match="No gradient reaches `layer.weight`, although"):
        check_reached({layer.weight}, names, forward)


def test_parameters_without_influence_are_accepted():
    layer, names, forward = case(0.0)
    check_reached(set(layer.parameters()), names, forward)
    check_reached(set(), names, None)


def test_without_a_pass_to_test_them_all_are_refused():
    layer, names, _ = case(0.0)
    with pytest.raises(UnsupportedModelError, match="may depend on them.*Call `pair_gram` once before"):
        check_reached({layer.weight}, names, None)
