"""The kinds of objectives, by what the loss of a pair depends on."""

from preflens.objectives.kinds.base import Citation, Objective
from preflens.objectives.kinds.batch import BatchObjective
from preflens.objectives.kinds.margin import MarginObjective
from preflens.objectives.kinds.pairwise import PairwiseObjective
from preflens.objectives.kinds.token import TokenObjective
from preflens.objectives.kinds.weighted_sum import WeightedSum

__all__ = [
    "BatchObjective",
    "Citation",
    "MarginObjective",
    "Objective",
    "PairwiseObjective",
    "TokenObjective",
    "WeightedSum",
]
