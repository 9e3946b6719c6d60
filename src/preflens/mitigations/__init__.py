"""Mitigations: changes of coefficients, of token weights or of whole steps that keep chosen log-probs from falling."""

from preflens.mitigations.catalogue import *  # noqa: F403  # one function per mitigation, by its name in the table
from preflens.mitigations.catalogue.splitting import Splitting as Splitting
from preflens.mitigations.kinds.base import CoefficientMap as CoefficientMap
from preflens.mitigations.kinds.base import Mitigated as Mitigated
from preflens.mitigations.kinds.base import MovingAverages as MovingAverages
from preflens.mitigations.kinds.base import as_rollout_transform as as_rollout_transform
from preflens.mitigations.kinds.token_mask import SharedGeometry as SharedGeometry
from preflens.mitigations.kinds.token_mask import TokenMask as TokenMask
from preflens.mitigations.kinds.token_weights import LearnedMasks as LearnedMasks
from preflens.mitigations.kinds.token_weights import TokenWeights as TokenWeights
from preflens.mitigations.kinds.token_weights import lambda_star as lambda_star
from preflens.mitigations.kinds.token_weights import masked_logps as masked_logps
from preflens.mitigations.parse import mitigation_label as mitigation_label
from preflens.mitigations.parse import parse_mitigation as parse_mitigation
from preflens.mitigations.table import MITIGATIONS as MITIGATIONS
from preflens.mitigations.table import Mitigation as Mitigation
