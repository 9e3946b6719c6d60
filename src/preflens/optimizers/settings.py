"""Which optimizer takes a step, with which numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from types import MappingProxyType
from typing import Any

import torch
from transformers.optimization import Adafactor

from preflens.errors import InputError

ADAMW, SGD, RMSPROP, ADAFACTOR, PLAIN = "adamw", "sgd", "rmsprop", "adafactor", "plain"

# What transformers' Trainer passes beside the learning rate.
_FIXED: Mapping[str, dict[str, Any]] = MappingProxyType({
    ADAMW: {},
    SGD: {},
    RMSPROP: {},
    ADAFACTOR: {"scale_parameter": False, "relative_step": False},
    PLAIN: {},
})
_CLASSES: Mapping[str, type[torch.optim.Optimizer]] = MappingProxyType({
    ADAMW: torch.optim.AdamW,
    SGD: torch.optim.SGD,
    RMSPROP: torch.optim.RMSprop,
    ADAFACTOR: Adafactor,
    PLAIN: torch.optim.SGD,
})
NAMES = tuple(_CLASSES)
# Without a state from earlier steps their update is a multiple of the gradient.
LINEAR = (SGD, PLAIN)


@dataclass(frozen=True)
class OptimizerSettings:
    """An optimizer as TRL's trainers set it up; the defaults are TRL's.

    Attributes:
        name: `adamw`, `sgd`, `rmsprop`, `adafactor`, or `plain`: gradient descent without clipping and weight decay,
            the step of the paper.
        learning_rate: η, of the first step.
        beta1: decay of AdamW's mean of gradients.
        beta2: decay of AdamW's mean of squared gradients.
        epsilon: added to the root in AdamW's denominator.
        weight_decay: share of a weight, times η, that a step takes off; of weights of linear maps and embeddings only.
        max_grad_norm: gradients longer than this are scaled to it; 0 for no clipping.

    Raises:
        InputError: the name is unknown, or a number is out of range.
    """

    name: str = ADAMW
    learning_rate: float = 1e-6
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise InputError(f"`optimizer` should be one of {', '.join(NAMES)}, or a checkpoint. Found `{self.name}`.")
        for name in ("learning_rate", "epsilon"):
            if not (isfinite(value := getattr(self, name)) and value > 0):
                raise InputError(f"`{name}` should be above 0 and finite. Found {value:g}.")
        for name in ("beta1", "beta2"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise InputError(f"`{name}` should be at least 0 and below 1. Found {value:g}.")
        for name in ("weight_decay", "max_grad_norm"):
            if not (isfinite(value := getattr(self, name)) and value >= 0):
                raise InputError(f"`{name}` should be 0 or more. Found {value:g}.")

    @property
    def clips(self) -> bool:
        """Whether long gradients are scaled down."""
        return self.name != PLAIN and self.max_grad_norm > 0

    @property
    def decays(self) -> bool:
        """Whether weights shrink beside the step."""
        return self.name != PLAIN and self.weight_decay > 0

    @property
    def decays_gradients(self) -> bool:
        """Whether weight decay is added to the gradient, not to the step: torch's way for SGD and RMSprop."""
        return self.name in {SGD, RMSPROP}

    @property
    def by_entry(self) -> bool:
        """Whether every number of a parameter steps by itself."""
        return self.name != ADAFACTOR

    def scaled(self, factor: float) -> "OptimizerSettings":
        """Return the same with another learning rate.

        Args:
            factor: on it.

        Returns:
            The settings.
        """
        return replace(self, learning_rate=factor * self.learning_rate)

    def make(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """Make the optimizer, with a fresh state.

        Args:
            groups: parameters, in torch's form.

        Returns:
            What transformers' Trainer would make of these settings.
        """
        more = {"betas": (self.beta1, self.beta2), "eps": self.epsilon} if self.name == ADAMW else _FIXED[self.name]
        return _CLASSES[self.name](list(groups), lr=self.learning_rate, **more)  # type: ignore[call-arg]  # of each class
