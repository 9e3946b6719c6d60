"""What an optimizer is about to do to each parameter, found by letting a copy of it do it to a copy of the parameter.

Where that is enough, some rows at a time, so that the copies stay small.

The copy takes gradient, state, learning rate, momentum and weight decay as they are, so nothing about an optimizer's
formula has to be known here: AdamW, SGD, fused or not, and whatever else steps parameter by parameter.
"""

import copy
from collections import OrderedDict, defaultdict
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor, nn

from preflens.errors import UnsupportedModelError
from preflens.gram.products.along_updates import RowSlice
from preflens.training.trainer_protocol import optimizer_of

# Optimizers that treat every number by itself and never write to a gradient: some rows of a parameter are enough for
# them, and its gradient need not be copied.
_BY_ENTRY = (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD)
# Entries that vector units work on together, at most.
_VECTOR = 64
# Integers as wide as a number, to add up bits.
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class OptimizerPreview:
    """The update that the next `optimizer.step()` will make, some rows of one parameter at a time.

    Args:
        optimizer: with gradients in `param.grad`; accelerate's wrapper is seen through. Left as it was found.

    Attributes:
        foretold: whether `update` can be asked: the optimizer is one of torch's kind and steps from gradients alone.

    Raises:
        UnsupportedModelError: it has no parameter groups, so that not even its learning rate is known.
    """

    def __init__(self, optimizer: object) -> None:
        inner = optimizer_of(optimizer)
        if not isinstance(inner, torch.optim.Optimizer):
            raise UnsupportedModelError(
                f"The probe needs an optimizer of torch's kind, with parameter groups. Found `{type(inner).__name__}`."
            )
        self._optimizer = inner
        self._groups = {p: group for group in inner.param_groups for p in group["params"]}
        self._expected: dict[nn.Parameter, dict[tuple[int, int] | None, int]] = {}
        self._last: tuple[nn.Parameter, Tensor] | None = None
        self._space: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}
        self.foretold = not isinstance(inner, torch.optim.LBFGS) and self._can_be_copied()

    def plain(self, parameter: nn.Parameter, rows: RowSlice = ...) -> Tensor:
        """Return −η ∇L: what plain gradient descent would do at the same learning rate.

        Args:
            parameter: of the optimizer or not; then nothing moves.
            rows: which of its rows.

        Returns:
            The update of these rows.
        """
        group = self._groups.get(parameter)
        if group is None or parameter.grad is None:
            return torch.zeros_like(parameter.detach()[rows])
        sign = 1 if group.get("maximize", False) else -1
        update: Tensor = parameter.grad.detach()[rows] * (sign * group["lr"])
        return update

    def update(self, parameter: nn.Parameter, rows: RowSlice = ...) -> Tensor:
        """Return what the optimizer will do.

        Args:
            parameter: of the optimizer or not; then nothing moves.
            rows: which of its rows. Ask for one parameter after the other: of optimizers that treat a parameter as a
                whole, the last one's whole update is remembered.

        Returns:
            New values less old values of these rows, good until the next rows are asked for.
        """
        group = self._groups.get(parameter)
        if group is None or parameter.grad is None:
            return torch.zeros_like(parameter.detach()[rows])
        if self._some_rows_will_do(parameter, rows):
            return self._moved(group, parameter, rows)
        if self._last is None or self._last[0] is not parameter:
            self._last = parameter, self._moved(group, parameter, ...)
        return self._last[1][rows]

    def _some_rows_will_do(self, parameter: nn.Parameter, rows: RowSlice) -> bool:
        """Whether rows step by themselves as they do with all others, to the last bit."""
        # What vector units leave over is rounded otherwise, so they must leave nothing.
        whole = isinstance(rows, EllipsisType)
        return type(self._optimizer) in _BY_ENTRY and (whole or parameter[0].numel() % _VECTOR == 0)

    def _moved(self, group: dict[str, Any], parameter: nn.Parameter, rows: RowSlice) -> Tensor:
        """Step on a copy of some rows, and remember where that led."""
        assert parameter.grad is not None
        old, gradient = parameter.detach()[rows], parameter.grad.detach()[rows]
        moved = self._copied("parameter", old, rows).requires_grad_()
        moved.grad = gradient.contiguous() if type(self._optimizer) in _BY_ENTRY else gradient.clone()
        self._twin(group, parameter, moved, rows).step()
        place = None if isinstance(rows, EllipsisType) else (rows.start, rows.stop)
        self._expected.setdefault(parameter, {})[place] = bit_sum(moved)
        return moved.detach().sub_(old)

    def _twin(
        self, group: dict[str, Any], parameter: nn.Parameter, moved: Tensor, rows: RowSlice
    ) -> torch.optim.Optimizer:
        """A copy of the optimizer for a copy of some rows; `step` on the instance is a scheduler's wrapper."""
        twin = object.__new__(type(self._optimizer))
        twin.__dict__ |= {k: v for k, v in vars(self._optimizer).items() if k not in {"step", "state", "param_groups"}}
        twin._optimizer_step_pre_hooks, twin._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
        twin.param_groups = [{**group, "params": [moved]}]
        whole = self._optimizer.state.get(parameter, {})
        state = {
            name: self._copied(name, value[rows] if value.shape == parameter.shape else value, rows)
            if isinstance(value, Tensor)
            else copy.copy(value)
            for name, value in whole.items()
        }
        twin.state = defaultdict(dict, {moved: state} if state else {})
        return twin

    def _copied(self, name: str, values: Tensor, rows: RowSlice) -> Tensor:
        """Copy some rows to where the last ones of this name were: new memory costs more than the copying."""
        if isinstance(rows, EllipsisType):
            return values.clone(memory_format=torch.contiguous_format)
        kind = name, values.dtype, values.device
        space = self._space.get(kind)
        if space is None or space.numel() < values.numel():
            space = self._space[kind] = torch.empty_like(values, memory_format=torch.contiguous_format).flatten()
        copied: Tensor = space[: values.numel()].view(values.shape).copy_(values)
        return copied

    def _can_be_copied(self) -> bool:
        smallest = min((p for p in self._groups if p.grad is not None), key=lambda p: p.numel(), default=None)
        try:
            if smallest is not None:
                self.update(smallest)
        except Exception:  # an optimizer of an unknown kind, which then is not foretold
            return False
        return True

    def matches_update(self) -> bool:
        """Tell, after the optimizer's step, whether every update that `update` foretold is the one that was made.

        Compares sums of the new values' bits.

        Returns:
            Whether they all are.
        """
        return all(
            bit_sum(p.detach()[... if place is None else slice(*place)]) == expected
            for p, parts in self._expected.items()
            for place, expected in parts.items()
        )


def bit_sum(values: Tensor) -> int:
    """Add up the bits of numbers, as integers that may overflow; in whatever order, the sum is the same.

    Args:
        values: of any type.

    Returns:
        The sum; equal for equal bits.
    """
    integers = values.detach().view(_BITS[values.element_size()])
    return int(integers.sum(dtype=torch.promote_types(integers.dtype, torch.int32)))
