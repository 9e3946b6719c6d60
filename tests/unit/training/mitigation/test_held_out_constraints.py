"""Constraint pairs are for `cone` alone; their gradients are tested in training."""

import pytest

from preflens.errors import InputError
from preflens.training.mitigation.held_out_constraints import check_constraints


def test_constraint_pairs_are_for_cone_alone():
    check_constraints("cone", 4)
    check_constraints("normalized", None)
    for mitigation in ("normalized", None):
        with pytest.raises(InputError, match="is for the mitigation `cone`"):
            check_constraints(mitigation, 4)
