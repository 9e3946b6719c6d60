"""Predict the optimizer's next update exactly, by stepping a copy of it on a copy of each parameter.

Optimizers that treat each entry by itself step on some rows at a time, so that the copies stay small.

The copy takes gradient, state, learning rate, momentum and weight decay as they are, so no formula of an optimizer is
repeated here: AdamW, SGD, fused or not, and any other that steps parameter by parameter.
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

# Optimizers that treat every entry by itself and never write to a gradient: they can step on some rows of a parameter,
# and its gradient need not be copied.
_ENTRYWISE = (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD)
# The most entries that vector units process together.
_VECTOR = 64
# Integers of the same width, by bytes per number, to sum bits.
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class OptimizerPreview:
    """Predicts the update of the next `optimizer.step()`, some rows of one parameter at a time.

    Args:
        optimizer: with gradients in `param.grad`, perhaps in accelerate's wrapper. It is not changed.

    Attributes:
        supported: whether `update` can be called: the optimizer steps from gradients alone, and can be copied.

    Raises:
        UnsupportedModelError: it is no torch optimizer, so that not even its learning rate is known.
    """

    def __init__(self, optimizer: object) -> None:
        inner = optimizer_of(optimizer)
        if not isinstance(inner, torch.optim.Optimizer):
            raise UnsupportedModelError(
                f"The probe needs a torch optimizer, with parameter groups. Found `{type(inner).__name__}`."
            )
        self._optimizer = inner
        self._groups = {p: group for group in inner.param_groups for p in group["params"]}
        self._expected: dict[nn.Parameter, dict[tuple[int, int] | None, int]] = {}
        self._last: tuple[nn.Parameter, Tensor] | None = None
        self._buffers: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}
        self.supported = not isinstance(inner, torch.optim.LBFGS) and self._can_be_copied()

    def plain(self, parameter: nn.Parameter, rows: RowSlice = ...) -> Tensor:
        """Return −η ∇L, the update of plain gradient descent at the same learning rate.

        Args:
            parameter: zero for one that is not in the optimizer.
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
        """Return the update that the optimizer will make.

        Args:
            parameter: zero for one that is not in the optimizer.
            rows: which of its rows. Call this for one parameter after the other: for optimizers that treat a parameter
                as a whole, the update of the last one is kept.

        Returns:
            New minus old values of these rows, valid until the next call.
        """
        group = self._groups.get(parameter)
        if group is None or parameter.grad is None:
            return torch.zeros_like(parameter.detach()[rows])
        if self._can_step_on_rows(parameter, rows):
            return self._step_on_copy(group, parameter, rows)
        if self._last is None or self._last[0] is not parameter:
            self._last = parameter, self._step_on_copy(group, parameter, ...)
        return self._last[1][rows]

    def _can_step_on_rows(self, parameter: nn.Parameter, rows: RowSlice) -> bool:
        """Whether these rows alone get the same update as together with all others, to the last bit."""
        # Entries left over by vector units are rounded differently, so there must be none.
        are_all = isinstance(rows, EllipsisType)
        return type(self._optimizer) in _ENTRYWISE and (are_all or parameter[0].numel() % _VECTOR == 0)

    def _step_on_copy(self, group: dict[str, Any], parameter: nn.Parameter, rows: RowSlice) -> Tensor:
        """Step on a copy of some rows, and keep the bit sum of the new values for `matches_update`."""
        assert parameter.grad is not None
        old, gradient = parameter.detach()[rows], parameter.grad.detach()[rows]
        stepped = self._copied("parameter", old, rows).requires_grad_()
        stepped.grad = gradient.contiguous() if type(self._optimizer) in _ENTRYWISE else gradient.clone()
        self._optimizer_copy(group, parameter, stepped, rows=rows).step()
        place = None if isinstance(rows, EllipsisType) else (rows.start, rows.stop)
        self._expected.setdefault(parameter, {})[place] = bit_sum(stepped)
        return stepped.detach().sub_(old)

    def _optimizer_copy(
        self, group: dict[str, Any], parameter: nn.Parameter, stepped: Tensor, *, rows: RowSlice
    ) -> torch.optim.Optimizer:
        """A copy of the optimizer for a copy of some rows, without the wrapper that a scheduler sets as `step`."""
        copied = object.__new__(type(self._optimizer))
        copied.__dict__ |= {
            k: v for k, v in vars(self._optimizer).items() if k not in {"step", "state", "param_groups"}
        }
        copied._optimizer_step_pre_hooks, copied._optimizer_step_post_hooks = (
            OrderedDict(),
            OrderedDict(),
        )
        copied.param_groups = [{**group, "params": [stepped]}]
        full_state = self._optimizer.state.get(parameter, {})
        state = {
            name: self._copied(name, value[rows] if value.shape == parameter.shape else value, rows)
            if isinstance(value, Tensor)
            else copy.copy(value)
            for name, value in full_state.items()
        }
        copied.state = defaultdict(dict, {stepped: state} if state else {})
        return copied

    def _copied(self, name: str, values: Tensor, rows: RowSlice) -> Tensor:
        """Copy some rows into the buffer of this name: allocating memory costs more than copying."""
        if isinstance(rows, EllipsisType):
            return values.clone(memory_format=torch.contiguous_format)
        kind = name, values.dtype, values.device
        buffer = self._buffers.get(kind)
        if buffer is None or buffer.numel() < values.numel():
            buffer = self._buffers[kind] = torch.empty_like(values, memory_format=torch.contiguous_format).flatten()
        copied: Tensor = buffer[: values.numel()].view(values.shape).copy_(values)
        return copied

    def _can_be_copied(self) -> bool:
        smallest = min((p for p in self._groups if p.grad is not None), key=lambda p: p.numel(), default=None)
        try:
            if smallest is not None:
                self.update(smallest)
        except Exception:  # of an optimizer of any kind, which then is not supported
            return False
        return True

    def matches_update(self) -> bool:
        """Return, after the optimizer's step, whether it made every update that `update` predicted.

        Compares sums of the bits of the new values.

        Returns:
            Whether all are equal.
        """
        return all(
            bit_sum(p.detach()[... if place is None else slice(*place)]) == expected
            for p, bit_sums in self._expected.items()
            for place, expected in bit_sums.items()
        )


def bit_sum(values: Tensor) -> int:
    """Sum the bits of numbers as integers, with overflow, so that the order does not matter.

    Args:
        values: of any type.

    Returns:
        The sum; equal for equal bits.
    """
    integers = values.detach().view(_BITS[values.element_size()])
    return int(integers.sum(dtype=torch.promote_types(integers.dtype, torch.int32)))
