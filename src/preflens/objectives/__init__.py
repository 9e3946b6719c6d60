"""The objectives, one paper per file; the tables that name them; what one needs to write one's own."""

from preflens.objectives.catalogue import *  # noqa: F403  # one function per objective, by its name in the table
from preflens.objectives.first_step import at_reference as at_reference
from preflens.objectives.kinds import BatchObjective as BatchObjective
from preflens.objectives.kinds import Citation as Citation
from preflens.objectives.kinds import MarginObjective as MarginObjective
from preflens.objectives.kinds import Objective as Objective
from preflens.objectives.kinds import PairwiseObjective as PairwiseObjective
from preflens.objectives.kinds import TokenObjective as TokenObjective
from preflens.objectives.kinds import WeightedSum as WeightedSum
from preflens.objectives.modifiers import MODIFIERS as MODIFIERS
from preflens.objectives.modifiers import Modifier as Modifier
from preflens.objectives.modifiers import modified as modified
from preflens.objectives.not_included import NOT_INCLUDED as NOT_INCLUDED
from preflens.objectives.parse import objective_label as objective_label
from preflens.objectives.parse import parse_objective as parse_objective
from preflens.objectives.table import OBJECTIVES as OBJECTIVES
from preflens.objectives.trl import TRL_LOSS_TYPES as TRL_LOSS_TYPES
from preflens.objectives.trl import trl_objective as trl_objective
