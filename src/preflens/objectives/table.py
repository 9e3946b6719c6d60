"""The table of objectives: every factory that the catalogue imports, by name."""

from collections.abc import Callable, Mapping
from types import FunctionType

from preflens.objectives import catalogue
from preflens.objectives.kinds.base import Objective

ObjectiveFactory = Callable[..., Objective]

OBJECTIVES: Mapping[str, ObjectiveFactory] = {
    name: entry for name, entry in vars(catalogue).items() if isinstance(entry, FunctionType)
}
