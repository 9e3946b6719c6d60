"""What a plain gradient step does to log-probs, to first order: prediction, outcome, the paper's conditions, rollout.

Everything here is Δa = η G c: the Gram matrix G of response gradients times the coefficients c of an objective times
the learning rate η. The Gram comes from `preflens.gram`, the coefficients from `preflens.objectives`.
"""

from preflens.dynamics.first_order import (
    RELATIVE_TOLERANCE,
    BandPosition,
    GradientCondition,
    band_position,
    cancellation_tolerance,
    classify,
    gradient_condition,
    predict_change,
)
from preflens.dynamics.rollouts import CoefficientTransform, Rollout, iterate_rollout, rollout, step_change

__all__ = [
    "RELATIVE_TOLERANCE",
    "BandPosition",
    "CoefficientTransform",
    "GradientCondition",
    "Rollout",
    "band_position",
    "cancellation_tolerance",
    "classify",
    "gradient_condition",
    "iterate_rollout",
    "predict_change",
    "rollout",
    "step_change",
]
