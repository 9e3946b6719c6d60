"""One call of a module, as a layer rule gets it, and which of its outputs are kept for that."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module, with the gradients that reach its outputs in the backward pass.

    Attributes:
        module: the module.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.
        outputs: floating-point tensors that it returned; empty where they were not kept.
        gradients: gradient of the sum of log-probs with respect to each output, None for outputs without one. Empty
            while the call is made.
        reading: how its parameters' gradients are computed; None while that is being determined.
        autocast: the type of autocast in which the module computed, else None.

    Example:
        >>> import torch
        >>> from preflens.gram import ModuleCall
        >>> call = ModuleCall(torch.nn.Identity(), (torch.ones(2, 3),), {}, (), (torch.zeros(2, 3),))
        >>> call.args[0].shape == call.gradients[0].shape
        True
    """

    module: nn.Module
    args: tuple[Any, ...]  # Any: whatever modules take
    kwargs: dict[str, Any]
    outputs: tuple[Tensor, ...]
    gradients: tuple[Tensor | None, ...] = ()
    reading: "Reading | None" = None
    autocast: torch.dtype | None = None


class Keep(Enum):
    """Which form of a call's outputs is kept until the backward pass."""

    NOTHING = "nothing"
    ALIAS = "the tensors themselves"
    COPY = "copies, which the model cannot change in place"


@dataclass(frozen=True)
class Reading:
    """How the gradients of a call's parameters are computed.

    Attributes:
        rule: computes them.
        keep: which form of the outputs it needs.
    """

    rule: Callable[..., Any]  # a layer rule, whose type refers to calls
    keep: Keep


# Modules whose outputs a model has changed in place, so that aliases of them cannot be used.
CHANGED: WeakSet[nn.Module] = WeakSet()
