"""Independent truth for every objective: one file NAME.py per objective, with nothing of the package in it.

Formulas are derived by hand from the objective's paper, with the parameters that `OBJECTIVES[NAME]()` has by default,
and written out without the package's common form. `x` is a `PairLogps`. A file has, by these names:

==========================  ============================================================================================
`coefficients(x)`           d_w = −∂ℓ/∂a_w and d_l = +∂ℓ/∂a_l of each pair
`token_coefficients(x)`     in their place where tokens differ: two lists of lists, d_{w,t} and d_{l,t} without padding
`loss(x)`                   ℓ of each pair; left out where TRL's own trainer is the truth
`loss_with_detached(x, y)`  in its place where the paper detaches a part of the loss: that part is taken from `y`
`domain(x)`                 pairs at which the loss exists in float64; left out where that is all of them
==========================  ============================================================================================

`dpo_ld.py` is the truth for the modifier `@ld`. The margin losses are also in Yuan et al., arXiv 2410.13828, Table 2.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

MODIFIED = {"dpo_ld": "dpo@ld"}


def oracle(name: str) -> ModuleType:
    """The truth for an objective, by its name in the table."""
    return import_module(f"tests.oracles.{name.replace('@', '_')}")


def files() -> set[str]:
    """Objectives that have a file here, by their names in the table."""
    names = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "formulas"}
    return {MODIFIED.get(name, name) for name in names}


def having(part: str) -> list[str]:
    """Objectives whose file has a part, for example `loss`."""
    return sorted(name for name in files() if hasattr(oracle(name), part))


def domain(name: str, x: object) -> torch.Tensor:
    """Pairs at which the loss of an objective exists in float64."""
    inside = getattr(oracle(name), "domain", None)
    return torch.ones(len(x.chosen), dtype=torch.bool) if inside is None else inside(x)
