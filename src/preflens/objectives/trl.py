"""TRL's DPO losses: the objective that equals the loss of a `DPOConfig`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from preflens.errors import ObjectiveError
from preflens.objectives.catalogue.aot import aot
from preflens.objectives.catalogue.aot_unpaired import aot_unpaired
from preflens.objectives.catalogue.apo_down import apo_down
from preflens.objectives.catalogue.apo_zero import apo_zero
from preflens.objectives.catalogue.bco import bco
from preflens.objectives.catalogue.discopop import discopop
from preflens.objectives.catalogue.dpo import dpo
from preflens.objectives.catalogue.dpo_hinge import dpo_hinge
from preflens.objectives.catalogue.dpo_norm import dpo_norm
from preflens.objectives.catalogue.exo import exo
from preflens.objectives.catalogue.ipo_per_token import ipo_per_token
from preflens.objectives.catalogue.nca import nca
from preflens.objectives.catalogue.robust_dpo import robust_dpo
from preflens.objectives.catalogue.sft import sft
from preflens.objectives.catalogue.sppo import sppo
from preflens.objectives.kinds.base import Objective
from preflens.objectives.kinds.weighted_sum import WeightedSum
from preflens.objectives.modifiers import MODIFIERS, Modifier, modified
from preflens.specs import near_matches


@dataclass(frozen=True)
class TrlSettings:
    """Fields of TRL's `DPOConfig` that a single loss reads, with TRL 1.16's defaults.

    Attributes:
        beta: β.
        label_smoothing: ε of `robust`, `exo_pair`, `aot` and `aot_unpaired`; the other losses ignore it.
        discopop_tau: τ of `discopop`.
    """

    beta: float = 0.1
    label_smoothing: float = 0.0
    discopop_tau: float = 0.05


TRL_LOSS_TYPES: Mapping[str, Callable[[TrlSettings], Objective]] = {
    "sigmoid": lambda s: dpo(s.beta),
    "hinge": lambda s: dpo_hinge(s.beta),
    "ipo": lambda s: ipo_per_token(s.beta),
    "exo_pair": lambda s: exo(s.beta, s.label_smoothing),
    "nca_pair": lambda s: nca(s.beta),
    "robust": lambda s: robust_dpo(s.beta, s.label_smoothing),
    "bco_pair": lambda s: bco(s.beta),
    "sppo_hard": lambda s: sppo(s.beta),
    "aot": lambda s: aot(s.beta, s.label_smoothing),
    "aot_unpaired": lambda s: aot_unpaired(s.beta, s.label_smoothing),
    "apo_zero": lambda s: apo_zero(s.beta),
    "apo_down": lambda s: apo_down(s.beta),
    "discopop": lambda s: discopop(s.beta, s.discopop_tau),
    "sft": lambda _: sft(),
    "sigmoid_norm": lambda s: dpo_norm(s.beta),
}


def trl_objective(
    loss_type: str | Sequence[str] = "sigmoid",
    *,
    loss_weights: Sequence[float] | None = None,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    f_divergence_type: str = "reverse_kl",
    f_alpha_divergence_coef: float = 0.5,
    use_weighting: bool = False,
    ld_alpha: float | None = None,
    discopop_tau: float = 0.05,
) -> Objective:
    """Build the objective that TRL 1.16's `DPOTrainer` minimizes. Arguments have the names of its `DPOConfig`.

    Args:
        loss_type: one of `TRL_LOSS_TYPES`, or a list of losses to add.
        loss_weights: weight of each loss; default 1 each.
        beta: β; for `ipo` it is τ.
        label_smoothing: ε of `robust`, `exo_pair`, `aot` and `aot_unpaired`; TRL ignores it elsewhere.
        f_divergence_type: `reverse_kl`, `forward_kl`, `js_divergence` or `alpha_divergence`.
        f_alpha_divergence_coef: α of `alpha_divergence`.
        use_weighting: weight pairs as in WPO.
        ld_alpha: weight of the tail tokens as in LD-DPO, or None.
        discopop_tau: τ of `discopop`.

    Returns:
        The objective whose mean loss over a batch is TRL's loss, without its auxiliary loss for routers.

    Raises:
        ObjectiveError: TRL refuses the combination, or a name is unknown.

    Example:
        >>> trl_objective(["sigmoid", "sft"], loss_weights=[1.0, 0.2]).name
        '1*dpo+0.2*sft'

    Note:
        `sft` is computed from plain log-probs: TRL applies neither divergence nor `ld_alpha` to it.
    """
    names = [loss_type] if isinstance(loss_type, str) else list(loss_type)
    weights = [1.0] * len(names) if loss_weights is None else list(loss_weights)
    if len(weights) != len(names):
        raise ObjectiveError(f"`loss_weights` should have one entry per loss. Found {len(weights)} and {len(names)}.")
    settings = TrlSettings(beta, label_smoothing, discopop_tau)
    changes = [] if ld_alpha is None else [MODIFIERS["ld"](ld_alpha)]
    changes += _divergence(f_divergence_type, f_alpha_divergence_coef)
    weighting = [MODIFIERS["wpo"]()] if use_weighting else []
    terms = [(w, _loss(name, settings, changes, weighting)) for w, name in zip(weights, names, strict=True)]
    return terms[0][1] if len(terms) == 1 and terms[0][0] == 1 else WeightedSum(tuple(terms))


def _loss(name: str, settings: TrlSettings, changes: list[Modifier], weighting: list[Modifier]) -> Objective:
    if name not in TRL_LOSS_TYPES:
        hint = near_matches(name, TRL_LOSS_TYPES)
        raise ObjectiveError(f"TRL has no loss type `{name}`.{hint} Known: {', '.join(TRL_LOSS_TYPES)}.")
    objective = TRL_LOSS_TYPES[name](settings)
    for modifier in [*(changes if name != "sft" else []), *weighting]:
        objective = modified(objective, modifier)
    return objective


def _divergence(name: str, alpha: float) -> list[Modifier]:
    if name == "reverse_kl":
        return []
    if name not in {"forward_kl", "js_divergence", "alpha_divergence"}:
        raise ObjectiveError(
            f"TRL has no divergence `{name}`. Known: reverse_kl, forward_kl, js_divergence, alpha_divergence."
        )
    return [MODIFIERS[name](alpha) if name == "alpha_divergence" else MODIFIERS[name]()]
