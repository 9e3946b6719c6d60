"""Mitigations: maps from coefficients and geometry to coefficients, weights of tokens, steps of several gradients."""

from collections.abc import Callable, Mapping

from preflens.mitigations.band import band
from preflens.mitigations.base import CoefficientMap, Mitigated, MovingAverages, what_if
from preflens.mitigations.cone import cone
from preflens.mitigations.controlled import controlled
from preflens.mitigations.masks import LearnedMasks, TokenWeights, lambda_star, masked_logps
from preflens.mitigations.normalized import normalized
from preflens.mitigations.reward_calibration import reward_calibration
from preflens.mitigations.sparse_mask import SharedGeometry, TokenMask, sparse_mask
from preflens.mitigations.splitting import Splitting, splitting

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
    "band",
    "cone",
    "controlled",
    "lambda_star",
    "masked_logps",
    "normalized",
    "reward_calibration",
    "sparse_mask",
    "splitting",
    "what_if",
]
