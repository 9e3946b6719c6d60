"""The objectives, one paper a file, and the table that names them."""

from collections.abc import Callable, Mapping

from preflens.objectives.base import MarginObjective, Objective, Source
from preflens.objectives.cpo import cpo
from preflens.objectives.dpo import dpo
from preflens.objectives.dpop import dpop
from preflens.objectives.ipo import ipo
from preflens.objectives.simpo import simpo
from preflens.objectives.slic import slic

ObjectiveFactory = Callable[..., MarginObjective]

OBJECTIVES: Mapping[str, ObjectiveFactory] = {f.__name__: f for f in (dpo, ipo, simpo, slic, cpo, dpop)}

__all__ = [
    "OBJECTIVES",
    "MarginObjective",
    "Objective",
    "ObjectiveFactory",
    "Source",
    "cpo",
    "dpo",
    "dpop",
    "ipo",
    "simpo",
    "slic",
]
