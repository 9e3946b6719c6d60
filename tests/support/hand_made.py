"""Small geometries whose numbers can be checked by hand."""

import torch

from preflens.analysis.comparison.first_step import stack_batches
from preflens.analysis.measurement.geometry import BatchGeometry
from preflens.pair_logps import PairLogps
from preflens.types import BatchGram, PairGram


def geometry(gradients, *, logps=None, layers=("layer",)):
    """Geometry of responses with these gradients, chosen ones first; all of it in one layer."""
    gradients = torch.tensor(gradients, dtype=torch.float64)
    gram = BatchGram(gradients @ gradients.T, torch.zeros(len(gradients), dtype=torch.float64))
    pairs = gram.pair_gram()
    values = torch.full((4, gram.pairs), -2.0, dtype=torch.float64) if logps is None else torch.tensor(logps).double()
    counts = torch.ones(2, gram.pairs, dtype=torch.int64)
    by_layer = PairGram(pairs.chosen_sq_norm[None], pairs.rejected_sq_norm[None], pairs.inner_product[None], layers)
    return BatchGeometry(PairLogps(*values, *counts), gram, by_layer)


def two_batches():
    """Two update batches of one pair each: gradients (1, 0) and (0, 1), then (2, 0) and (1, 1)."""
    return [geometry([[1.0, 0.0], [0.0, 1.0]]), geometry([[2.0, 0.0], [1.0, 1.0]])]


def training():
    return stack_batches(two_batches())
