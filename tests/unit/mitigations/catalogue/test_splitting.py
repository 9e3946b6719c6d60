"""Splitting: its reach, and what it refuses. The steps themselves are tested with the trainer."""

import pytest

from preflens.errors import InputError
from preflens.mitigations.catalogue.splitting import SPLITTING_KINDS, splitting


def test_the_reach_is_kappa_times_strength_and_sequential_steps_reach_one_step():
    assert splitting(kappa=3.0, strength=0.5).reach == 1.5
    assert splitting(kind="sequential", kappa=3.0).reach == 1.0
    assert splitting(strength=0.0).reach == 0.0


def test_kinds_and_ranges_are_checked():
    assert SPLITTING_KINDS == ("virtual", "sequential")
    with pytest.raises(InputError, match="should be one of virtual, sequential. Found `both`"):
        splitting(kind="both")
    with pytest.raises(InputError, match="`kappa` of mitigation `splitting` should be 0 or more"):
        splitting(kappa=-1.0)
