"""What an optimizer is about to do to each parameter, found by letting a copy of it do it to a copy of the parameter.

The copy takes gradient, state, learning rate, momentum and weight decay as they are, so nothing about an optimizer's
formula has to be known here: AdamW, SGD, fused or not, and whatever else steps parameter by parameter.
"""

import copy
from collections import OrderedDict, defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from preflens.errors import UnsupportedModelError

# Optimizers that never write to a gradient: it need not be copied for them.
_READ_GRADIENTS_ONLY = (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD)


class NextStep:
    """The update that the next `optimizer.step()` will make, one parameter at a time.

    Args:
        optimizer: with gradients in `param.grad`; accelerate's wrapper is seen through. Left as it was found.

    Attributes:
        foretold: whether `update` can be asked: the optimizer is one of torch's kind and steps from gradients alone.

    Raises:
        UnsupportedModelError: it has no parameter groups, so that not even its learning rate is known.
    """

    def __init__(self, optimizer: object) -> None:
        inner = getattr(optimizer, "optimizer", optimizer)
        if not isinstance(inner, torch.optim.Optimizer):
            raise UnsupportedModelError(
                f"The probe needs an optimizer of torch's kind, with parameter groups. Found `{type(inner).__name__}`."
            )
        self._optimizer = inner
        self._groups = {p: group for group in inner.param_groups for p in group["params"]}
        self._expected: dict[nn.Parameter, tuple[float, float]] = {}
        self.foretold = not isinstance(inner, torch.optim.LBFGS) and self._can_be_copied()

    def plain(self, parameter: nn.Parameter) -> Tensor:
        """Return −η ∇L: what plain gradient descent would do at the same learning rate.

        Args:
            parameter: of the optimizer or not; then nothing moves.

        Returns:
            The update.
        """
        group = self._groups.get(parameter)
        if group is None or parameter.grad is None:
            return torch.zeros_like(parameter)
        sign = 1 if group.get("maximize", False) else -1
        update: Tensor = parameter.grad.detach() * (sign * group["lr"])
        return update

    def update(self, parameter: nn.Parameter) -> Tensor:
        """Return what the optimizer will do.

        Args:
            parameter: of the optimizer or not; then nothing moves.

        Returns:
            New value less old value.
        """
        group = self._groups.get(parameter)
        if group is None or parameter.grad is None:
            return torch.zeros_like(parameter)
        moved = parameter.detach().clone().requires_grad_()
        reads_only = type(self._optimizer) in _READ_GRADIENTS_ONLY
        moved.grad = parameter.grad.detach() if reads_only else parameter.grad.detach().clone()
        self._twin(group, parameter, moved).step()
        self._expected[parameter] = _checksums(moved)
        return moved.detach() - parameter.detach()

    def _twin(self, group: dict[str, Any], parameter: nn.Parameter, moved: Tensor) -> torch.optim.Optimizer:
        """A copy of the optimizer for a copy of one parameter; `step` on the instance is a scheduler's wrapper."""
        twin = object.__new__(type(self._optimizer))
        twin.__dict__ |= {k: v for k, v in vars(self._optimizer).items() if k not in {"step", "state", "param_groups"}}
        twin._optimizer_step_pre_hooks, twin._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
        twin.param_groups = [{**group, "params": [moved]}]
        state = {name: _copied(value) for name, value in self._optimizer.state.get(parameter, {}).items()}
        twin.state = defaultdict(dict, {moved: state} if state else {})
        return twin

    def _can_be_copied(self) -> bool:
        smallest = min((p for p in self._groups if p.grad is not None), key=lambda p: p.numel(), default=None)
        try:
            if smallest is not None:
                self.update(smallest)
        except Exception:  # an optimizer of an unknown kind, which then is not foretold
            return False
        return True

    def was_made(self) -> bool:
        """Tell, after the optimizer's step, whether every update that `update` foretold is the one that was made.

        Compares sums of the new values, which are equal to the last bit for equal values.

        Returns:
            Whether they all are.
        """
        return all(_checksums(p) == expected for p, expected in self._expected.items())


def _checksums(values: Tensor) -> tuple[float, float]:
    return float(values.detach().sum(dtype=torch.float64)), float(torch.linalg.vector_norm(values.detach()))


def _copied(value: Any) -> Any:  # noqa: ANN401  # whatever an optimizer keeps
    return value.clone() if isinstance(value, Tensor) else copy.copy(value)
