"""Gradient inner products of any module whose rows have a scalar; knows no language and no preference data."""

from preflens.gram.brute_force import exact_batch_gram, exact_pair_gram
from preflens.gram.engine import batch_gram, pair_gram
from preflens.gram.readers.directional import directional
from preflens.gram.training_step.observer import riding

__all__ = ["batch_gram", "directional", "exact_batch_gram", "exact_pair_gram", "pair_gram", "riding"]
