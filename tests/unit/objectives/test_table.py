"""The table of objectives."""

from preflens.objectives import catalogue
from preflens.objectives.table import OBJECTIVES


def test_every_factory_makes_an_objective_of_its_own_name_from_its_own_file():
    for name, factory in OBJECTIVES.items():
        assert factory().name == name
        assert factory.__module__ == f"{catalogue.__name__}.{name}"


def test_the_order_begins_with_the_losses_that_yuan_et_al_compare():
    assert list(OBJECTIVES)[:4] == ["dpo", "rdpo", "simpo", "ipo"]
