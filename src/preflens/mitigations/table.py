"""The table of mitigations: every function that the catalogue imports, by its name."""

from collections.abc import Callable, Mapping

from preflens.mitigations import catalogue
from preflens.mitigations.catalogue.sparse_mask import TokenMask
from preflens.mitigations.catalogue.splitting import Splitting
from preflens.mitigations.kinds.base import CoefficientMap

Mitigation = CoefficientMap | TokenMask | Splitting
MitigationFactory = Callable[..., Mitigation]

MITIGATIONS: Mapping[str, MitigationFactory] = {
    name: factory for name, factory in vars(catalogue).items() if not name.startswith("_")
}
