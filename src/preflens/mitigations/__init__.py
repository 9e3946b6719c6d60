"""Mitigations: maps from coefficients and geometry to coefficients, weights of tokens, steps of several gradients."""

from collections.abc import Callable, Mapping

from preflens.mitigations.catalogue.band import band
from preflens.mitigations.catalogue.cone import cone
from preflens.mitigations.catalogue.controlled import controlled
from preflens.mitigations.catalogue.normalized import normalized
from preflens.mitigations.catalogue.reward_calibration import reward_calibration
from preflens.mitigations.catalogue.sparse_mask import SharedGeometry, TokenMask, sparse_mask
from preflens.mitigations.catalogue.splitting import Splitting, splitting
from preflens.mitigations.kinds.base import CoefficientMap, Mitigated, MovingAverages, as_rollout_transform
from preflens.mitigations.kinds.token_weights import LearnedMasks, TokenWeights, lambda_star, masked_logps

Mitigation = CoefficientMap | TokenMask | Splitting
MitigationFactory = Callable[..., Mitigation]

_FACTORIES: tuple[MitigationFactory, ...] = (
    normalized,
    band,
    reward_calibration,
    cone,
    controlled,
    sparse_mask,
    splitting,
)

MITIGATIONS: Mapping[str, MitigationFactory] = {f.__name__: f for f in _FACTORIES}

__all__ = [
    "MITIGATIONS",
    "CoefficientMap",
    "LearnedMasks",
    "Mitigated",
    "Mitigation",
    "MitigationFactory",
    "MovingAverages",
    "SharedGeometry",
    "Splitting",
    "TokenMask",
    "TokenWeights",
    "as_rollout_transform",
    "band",
    "cone",
    "controlled",
    "lambda_star",
    "masked_logps",
    "normalized",
    "reward_calibration",
    "sparse_mask",
    "splitting",
]
