"""The table of mitigations."""

from preflens.mitigations import CoefficientMap, Splitting, TokenMask
from preflens.mitigations.table import MITIGATIONS


def test_every_factory_makes_a_mitigation_of_its_own_name():
    for name, factory in MITIGATIONS.items():
        mitigation = factory()
        assert mitigation.name == name
        assert isinstance(mitigation, CoefficientMap | TokenMask | Splitting)
        assert "strength" in mitigation.parameters
