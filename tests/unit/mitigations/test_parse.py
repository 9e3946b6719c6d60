"""Mitigations as texts, and back."""

import pytest
import torch

from preflens.errors import InputError
from preflens.mitigations import CoefficientMap, Mitigated
from preflens.mitigations.parse import mitigation_label, parse_mitigation
from preflens.objectives import Citation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normalised", "Did you mean `normalized`"),
        ("normalized:scale=mine", "should be one of objective, shared, unit"),
        ("normalized:strength=2", "from 0 to 1"),
        ("normalized:scal=unit", "Did you mean `scale`"),
        ("band:margin=x", "should be a number"),
        ("band:margin", "no value"),
        ("cone:floor=-1", "0 or more"),
        ("sparse_mask:kind=soft", "should be one of exact"),
        ("splitting:kind=soft", "should be one of virtual"),
    ],
)
def test_texts_that_name_no_mitigation_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_mitigation(text)


def test_the_label_of_a_mitigation_of_ones_own_names_all_parameters():
    def unchanged(coefficients, gram, state):
        return Mitigated(coefficients, torch.zeros_like(coefficients.chosen, dtype=torch.bool))

    mine = CoefficientMap("mine", unchanged, Citation("t", "a", 2026, "", ""), "pair", parameters={"share": 0.5})
    assert mitigation_label(mine) == "mine:share=0.5"
    assert mitigation_label(parse_mitigation("normalized:scale=objective,strength=0.5")) == "normalized:strength=0.5"
