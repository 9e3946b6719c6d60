"""Sums of objectives."""

import pytest

from preflens.errors import ObjectiveError
from preflens.objectives import dpo, ipo, sft
from preflens.objectives.kinds.weighted_sum import WeightedSum


def test_a_sum_has_names_and_parameters_of_its_terms_and_the_paper_of_the_first():
    total = WeightedSum(((0.5, dpo()), (2.0, ipo())))
    assert total.name == "0.5*dpo+2*ipo"
    assert total.parameters == {"dpo.beta": 0.1, "ipo.tau": 0.1}
    assert total.source == dpo().source
    assert total.inputs == {"reference"}


def test_the_kind_is_the_most_demanding_of_the_terms():
    assert WeightedSum(((1.0, dpo()),)).kind == "margin"
    assert WeightedSum(((1.0, dpo()), (1.0, ipo()))).kind == "pairwise"
    assert WeightedSum(((1.0, dpo()), (1.0, sft()))).kind == "batch"


def test_no_term_and_weights_that_are_not_finite_are_refused():
    with pytest.raises(ObjectiveError, match="at least one term"):
        WeightedSum(())
    with pytest.raises(ObjectiveError, match="The weight of objective `dpo` should be finite. Found inf"):
        WeightedSum(((float("inf"), dpo()),))
