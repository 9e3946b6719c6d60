"""The autograd function of a tap: identity on a module's outputs that delivers a `ModuleCall` in the backward pass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from preflens.errors import UnreadableGradientError
from preflens.gram.capture.calls import CHANGED, Keep, ModuleCall, Reading


@dataclass(frozen=True)
class TapFrame:
    """A call without its tensors, which autograd keeps.

    Attributes:
        module: the module.
        sink: receives the call in the backward pass.
        on_error: receives exceptions of the sink.
        reading: how the gradients of the call's parameters are computed.
        autocast: the type of autocast in which the module computed, else None.
        leaves: leaves of the arguments; None in place of a tensor.
        positions: indices of the tensors among the leaves.
        structure: of the arguments; None for a single tensor, the common case, because trees are slow.
    """

    module: nn.Module
    sink: Callable[[ModuleCall], None]
    on_error: Callable[[Exception], None]
    reading: Reading
    autocast: torch.dtype | None
    leaves: list[Any]  # Any: whatever modules take
    positions: list[int]
    structure: pytree.TreeSpec | None

    def deliver(self, saved: tuple[Tensor, ...] | None, gradients: tuple[Tensor | None, ...]) -> None:
        """Pass the call on; `saved` is None where the model has changed its tensors in place."""
        try:
            self.sink(self._call(saved, gradients))
        except Exception as error:
            self.on_error(error)

    def _call(self, saved: tuple[Tensor, ...] | None, gradients: tuple[Tensor | None, ...]) -> ModuleCall:
        if saved is None:
            return ModuleCall(self.module, (), {}, (), gradients, Reading(self._refusing_rule(), Keep.NOTHING))
        filled = list(self.leaves)
        for position, tensor in zip(self.positions, saved[: len(self.positions)], strict=True):
            filled[position] = tensor
        args, kwargs = ((filled[0],), {}) if self.structure is None else pytree.tree_unflatten(filled, self.structure)
        outputs = saved[len(self.positions) :]
        return ModuleCall(self.module, args, kwargs, outputs, gradients, self.reading, self.autocast)

    def _refusing_rule(self) -> Callable[..., Any]:
        """A rule that refuses the call; the next pass may succeed without its outputs."""
        again = self.reading.keep is Keep.ALIAS and self.module not in CHANGED
        if again:
            CHANGED.add(self.module)

        def refuse(*_: object) -> None:
            raise UnreadableGradientError(
                f"What went into a `{type(self.module).__name__}` or came out of it is changed in place later, so the "
                "gradient of its parameters cannot be read off it. Freeze them, or use `brute_force_batch_gram`.",
                module=self.module,
                again=again,
            )

        return refuse


class TapFunction(torch.autograd.Function):
    """Identity on outputs that delivers the saved inputs and the gradients that arrive."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch gives it no public type
        frame: TapFrame,
        anchor: Tensor | None,  # noqa: ARG004  # its place in the graph is its use
        count: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        """Save the inputs, and the outputs as far as the rule needs them.

        Args:
            ctx: of torch.
            frame: of the call.
            anchor: part of the graph of every tap, or None.
            count: number of outputs.
            *tensors: the outputs, then the inputs.

        Returns:
            The outputs.
        """
        ctx.frame, ctx.inputs = frame, len(tensors) - count
        ctx.set_materialize_grads(False)
        # An alias, not the tensor itself: autograd forbids in-place operations on an input that is returned as it is.
        outputs = tuple(t.detach() for t in tensors[:count])
        kept = [] if frame.reading.keep is Keep.NOTHING else [t.detach() for t in tensors[:count]]
        if frame.reading.keep is Keep.COPY:
            kept = [t.clone() for t in kept]
        ctx.save_for_backward(*tensors[count:], *kept)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401  # as above
        """Deliver the call, and pass the gradients on unchanged.

        Args:
            ctx: of torch.
            *gradients: of the outputs.

        Returns:
            The same gradients, and None for everything else.

        Raises:
            RuntimeError: torch's, for any other reason than a change in place.
        """
        try:
            saved = ctx.saved_tensors  # read once: non-reentrant checkpointing recomputes them here
        except RuntimeError as error:
            if "modified by an inplace operation" not in str(error):
                raise
            saved = None
        if any(g is not None for g in gradients):
            ctx.frame.deliver(saved, gradients)
        return (None, None, None, *gradients, *(None for _ in range(ctx.inputs)))
