"""The panel of gradient norms."""

from math import log10

import pytest

from preflens.report.panels.norms import norms
from tests.cases.records import analysis
from tests.support.pages import traces_of


def test_norms_are_the_roots_of_the_squared_norms_as_logarithms():
    """Squared norms: 4, 1, 1 of chosen and 1, 4, 1 of rejected responses."""
    chosen, rejected = traces_of(norms(analysis()).values["plot"], "norms")
    assert chosen["x"] == pytest.approx([log10(2), 0, 0], abs=1e-4)
    assert rejected["x"] == pytest.approx([0, log10(2), 0], abs=1e-4)
