"""Modifiers of objectives, as in `dpo@forward_kl`, `dpo@wpo` or `dpo@ld:alpha=0.5`, and the table of them."""

from collections.abc import Callable, Mapping

from preflens.objectives.modifiers.base import Modifier
from preflens.objectives.modifiers.f_divergence import alpha_divergence, forward_kl, js_divergence
from preflens.objectives.modifiers.ld import ld
from preflens.objectives.modifiers.modified import ModifiedObjective, modified
from preflens.objectives.modifiers.wpo import wpo

MODIFIERS: Mapping[str, Callable[..., Modifier]] = {
    f.__name__: f for f in (forward_kl, js_divergence, alpha_divergence, wpo, ld)
}

__all__ = [
    "MODIFIERS",
    "ModifiedObjective",
    "Modifier",
    "alpha_divergence",
    "forward_kl",
    "js_divergence",
    "ld",
    "modified",
    "wpo",
]
