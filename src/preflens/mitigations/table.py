"""The table of mitigations: every function that the catalogue imports, by its name."""

from collections.abc import Callable, Mapping
from types import FunctionType

from preflens.mitigations import catalogue
from preflens.mitigations.catalogue.splitting import Splitting
from preflens.mitigations.kinds.base import CoefficientMap
from preflens.mitigations.kinds.token_mask import TokenMask

Mitigation = CoefficientMap | TokenMask | Splitting
MitigationFactory = Callable[..., Mitigation]

MITIGATIONS: Mapping[str, MitigationFactory] = {
    name: entry for name, entry in vars(catalogue).items() if isinstance(entry, FunctionType)
}
