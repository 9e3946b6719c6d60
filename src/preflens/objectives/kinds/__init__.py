"""The kinds of objectives: what the loss of a pair is a function of."""

from preflens.objectives.kinds.base import Citation
from preflens.objectives.kinds.batch import BatchObjective
from preflens.objectives.kinds.margin import MarginObjective
from preflens.objectives.kinds.pairwise import PairwiseObjective
from preflens.objectives.kinds.token import TokenObjective

__all__ = ["BatchObjective", "Citation", "MarginObjective", "PairwiseObjective", "TokenObjective"]
