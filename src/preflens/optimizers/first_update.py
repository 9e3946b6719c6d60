"""The update that an optimizer would make from a gradient, a part of a parameter at a time, for many gradients at once.

The real torch optimizer steps: on a stack of copies of the part, one for each gradient. So no formula of an optimizer
is written down here, and momentum, second moments and step counts of a loaded state count as they do in training.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.trainer_pt_utils import get_parameter_names

from preflens.gram.products.along_updates import RowSlice
from preflens.optimizers.settings import OptimizerSettings

State = Mapping[nn.Parameter, Mapping[str, Any]]

# Parameters whose names match are not decayed: `Trainer.get_decay_parameter_names` of transformers 5.
_NOT_DECAYED = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]


def decayed_parameters(module: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that weight decay applies to, by transformers' rule: neither biases nor norms.

    Args:
        module: the model.

    Returns:
        Those among its trainable parameters.
    """
    names = set(get_parameter_names(module, [nn.LayerNorm], _NOT_DECAYED))
    return {p for name, p in module.named_parameters() if name in names and p.requires_grad}


class FirstUpdate:
    """What an optimizer would do next, as a function of the gradient.

    Args:
        module: whose trainable parameters step.
        settings: the optimizer.
        state: of its parameters; None for a fresh one.
    """

    def __init__(self, module: nn.Module, settings: OptimizerSettings, state: State | None = None) -> None:
        self._settings, self._state = settings, state or {}
        self._decayed = decayed_parameters(module) if settings.decays else set()

    @property
    def fresh(self) -> bool:
        """Whether there is no state from earlier steps."""
        return not self._state

    @property
    def by_entry(self) -> bool:
        """Whether some rows of a parameter step as they do with all others."""
        return self._settings.by_entry

    def decays(self, parameter: nn.Parameter) -> bool:
        """Whether weight decay applies to a parameter.

        Args:
            parameter: one of the module's.

        Returns:
            False for biases and norms, and where nothing decays.
        """
        return parameter in self._decayed

    def of(
        self, parameter: nn.Parameter, rows: RowSlice, gradients: Float[Tensor, "direction ..."]
    ) -> Float[Tensor, "direction ..."]:
        """Step on copies of a part of a parameter.

        Args:
            parameter: one of the module's.
            rows: which of its rows; all of them unless the optimizer steps entry by entry.
            gradients: of the loss, after clipping, one for each copy.

        Returns:
            New values less old values of each copy; weight decay apart.
        """
        # Copies start at zero: without weight decay no update here depends on the weights, and none is rounded to
        # their last bit.
        if self._settings.by_entry:
            stack = nn.Parameter(torch.zeros_like(gradients))
            self._step([stack], [gradients], parameter, rows)
            return stack.detach()
        copies = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
        self._step(copies, list(gradients), parameter, rows)
        return torch.stack([copy.detach() for copy in copies])

    def decay(
        self, parameter: nn.Parameter, rows: RowSlice, gradients: Float[Tensor, "direction ..."]
    ) -> Float[Tensor, "direction ..."] | None:
        """Return what weight decay adds to the updates of a part of a parameter.

        AdamW and Adafactor take η λ θ off beside the step. SGD and RMSprop add λ θ to the gradient, as torch does; what
        this changes is the difference of two steps.

        Args:
            parameter: one of the module's.
            rows: which of its rows.
            gradients: as for `of`.

        Returns:
            The updates that come on top of those of `of`, or None where nothing decays.
        """
        if parameter not in self._decayed:
            return None
        weights = parameter.detach()[rows].to(gradients)
        if self._settings.decays_gradients:
            share = self._settings.weight_decay * weights
            return self.of(parameter, rows, gradients + share) - self.of(parameter, rows, gradients)
        return (weights * -(self._settings.learning_rate * self._settings.weight_decay)).expand_as(gradients)

    def _step(
        self, copies: list[nn.Parameter], gradients: list[Tensor], parameter: nn.Parameter, rows: RowSlice
    ) -> None:
        optimizer = self._settings.make([{"params": copies}])
        for group in optimizer.param_groups:
            group["weight_decay"] = 0.0
        whole = self._state.get(parameter)
        for copy, gradient in zip(copies, gradients, strict=True):
            copy.grad = gradient
            if whole:
                optimizer.state[copy] = {name: _taken(value, parameter, rows, copy) for name, value in whole.items()}
        optimizer.step()


def _taken(value: Any, parameter: nn.Parameter, rows: RowSlice, copy: nn.Parameter) -> Any:  # noqa: ANN401  # of any optimizer
    """What a copy starts with of a parameter's state: its rows of what has one number for each of the parameter's."""
    if not isinstance(value, Tensor):
        return value
    if value.shape != parameter.shape:
        return value.clone()
    return value[rows].to(copy).expand_as(copy).clone()
