"""A map of coefficients: strengths, scopes, states and treatable pairs, with numbers by hand."""

import pytest
import torch

from preflens.errors import InputError
from preflens.mitigations.kinds.base import (
    CoefficientMap,
    Mitigated,
    MovingAverages,
    as_rollout_transform,
    is_treatable,
)
from preflens.mitigations.kinds.base import within as check_within
from preflens.objectives import Citation
from preflens.types import BatchGram, PairCoefficients, PairGram

SOURCE = Citation("t", "a", 2026, "", "")


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def quadrupled(coefficients, gram, state):
    updates = 1 if state is None else state.updates + 1
    changed = PairCoefficients(4 * coefficients.chosen, coefficients.rejected)
    return Mitigated(changed, torch.zeros_like(changed.chosen, dtype=torch.bool), MovingAverages({}, updates))


@pytest.mark.parametrize(("scope", "expected"), [("pair", 2.0), ("batch", 2.5)])
def test_half_strength_is_the_geometric_mean_for_pairs_and_the_arithmetic_one_for_batches(scope, expected):
    gram, c = (
        BatchGram(torch.eye(2, dtype=torch.float64), torch.zeros(2).double()),
        PairCoefficients(tensor(1), tensor(3)),
    )
    half = CoefficientMap("quadrupled", quadrupled, SOURCE, scope, strength=0.5).apply(c, gram).coefficients
    assert half.chosen.item() == pytest.approx(expected)
    assert half.rejected.item() == 3.0


def test_a_map_over_batches_refuses_the_geometry_of_pairs():
    gram, c = PairGram(tensor(1), tensor(1), tensor(0)), PairCoefficients(tensor(1), tensor(1))
    with pytest.raises(InputError, match="depends on the whole batch. Pass a `BatchGram`"):
        CoefficientMap("quadrupled", quadrupled, SOURCE, "batch").apply(c, gram)


def test_a_rollout_transform_passes_the_state_on():
    gram, c = (
        BatchGram(torch.eye(2, dtype=torch.float64), torch.zeros(2).double()),
        PairCoefficients(tensor(1), tensor(1)),
    )
    states = []

    def noting(coefficients, gram, state):
        states.append(state)
        return quadrupled(coefficients, gram, state)

    transform = as_rollout_transform(CoefficientMap("noting", noting, SOURCE, "batch"))
    assert transform(c, gram).chosen.item() == 4.0
    transform(c, gram)
    assert [state if state is None else state.updates for state in states] == [None, 1]


def test_treatable_pairs_have_positive_coefficients_and_two_gradients_that_are_not_parallel():
    gram = PairGram(tensor(1, 1, 0, 1, 1), tensor(1, 4, 1, 1, 1), tensor(0.5, 2, 0, 0.5, 0.5))
    c = PairCoefficients(tensor(1, 1, 1, -1, 1), tensor(1, 1, 1, 1, 0))
    assert is_treatable(c, gram).tolist() == [True, False, False, False, False]


def test_parameters_outside_their_interval_are_refused():
    check_within("band", 0.0, 1.0, least=0.0, greatest=1.0)
    with pytest.raises(InputError, match="`share` of mitigation `band` should be from 0 to 1. Found 1.5"):
        check_within("band", 0.0, 1.0, share=1.5)
    with pytest.raises(InputError, match="should be 0 or more. Found nan"):
        check_within("band", 0.0, float("inf"), share=float("nan"))
