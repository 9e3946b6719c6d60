"""The table of objectives: every function that the catalogue imports, by its name."""

from collections.abc import Callable, Mapping

from preflens.objectives import catalogue
from preflens.objectives.kinds.base import Objective

ObjectiveFactory = Callable[..., Objective]

OBJECTIVES: Mapping[str, ObjectiveFactory] = {
    name: factory for name, factory in vars(catalogue).items() if not name.startswith("_")
}
