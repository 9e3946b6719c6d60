"""Gradient inner products of any module whose rows have a scalar; knows no language and no preference data."""

from preflens.gram.brute_force import brute_force_batch_gram, brute_force_pair_gram
from preflens.gram.engine import batch_gram, pair_gram
from preflens.gram.readers.directional import directional_derivatives
from preflens.gram.training_step.observer import observe_backward

__all__ = [
    "batch_gram",
    "brute_force_batch_gram",
    "brute_force_pair_gram",
    "directional_derivatives",
    "observe_backward",
    "pair_gram",
]
