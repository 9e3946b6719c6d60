"""Gradient inner products of any module whose rows have a scalar; knows no language and no preference data."""

from preflens.gram.engine import batch_gram, pair_gram
from preflens.gram.exact import exact_batch_gram, exact_pair_gram

__all__ = ["batch_gram", "exact_batch_gram", "exact_pair_gram", "pair_gram"]
