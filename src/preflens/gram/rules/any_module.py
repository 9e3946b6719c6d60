"""The rule for any module, exact and slow: call it again for each response, and differentiate it.

It serves experts with three-dimensional weights, routers, magnitudes of DoRA, modules that use the parameters of
others inside them, and unknown layers. The outputs of the repeated calls must equal the outputs of the first call, so a
module that mixes responses is noticed.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from preflens.errors import UnreadableGradientError
from preflens.gram.capture.calls import ModuleCall
from preflens.gram.factors.factors import OnDemand
from preflens.gram.factors.precision import widen
from preflens.gram.rules.base import LayerGradients, RuleContext
from preflens.gram.rules.row_splits import RowSplit, row_splits

# How much the output of a repeated call may differ, as a share of the largest: another batch size, other kernels.
_SAME = {torch.float64: 1e-6, torch.float32: 1e-3}
_SAME_HALF = 5e-2
# Each group of parameters asks for the gradients of a response. This many numbers are remembered, so that the module
# is not called again for each group.
_REMEMBERED = 1 << 22


def any_module(call: ModuleCall, context: RuleContext) -> list[LayerGradients]:
    """Return the gradients of all parameters of a module.

    Args:
        call: of the module, with its outputs kept.
        context: names the parameters.

    Returns:
        One element per group of parameters.
    """
    numel = sum(call.module.get_parameter(name).numel() for name in context.parameters)
    size = max(2, min(context.responses, _REMEMBERED // max(1, numel)))
    gradients = lru_cache(maxsize=size)(_RepeatedCalls(call, context).gradients)
    return [_on_demand(names, context.responses, gradients) for names in context.groups]


def _on_demand(names: tuple[str, ...], responses: int, gradients: Callable[[int], dict[str, Tensor]]) -> LayerGradients:
    def gradient(response: int) -> Tensor:
        by_name = gradients(response)
        return torch.cat([by_name[name].flatten() for name in names])

    return LayerGradients(names, OnDemand(responses, gradient))


class _RepeatedCalls:
    """Calls a module again, with the rows of one response.

    Args:
        call: the first call.
        context: names the parameters.
    """

    def __init__(self, call: ModuleCall, context: RuleContext) -> None:
        self._call, self._context = call, context
        self._split: RowSplit | None = None

    def gradients(self, response: int) -> dict[str, Tensor]:
        """Differentiate the module for one response.

        Args:
            response: its number.

        Returns:
            The gradient with respect to each parameter, by name.
        """
        names = self._context.parameters
        parameters = [self._call.module.get_parameter(name) for name in names]
        flags = [p.requires_grad for p in parameters]
        try:
            for p in parameters:
                p.requires_grad_(True)
            with torch.enable_grad(), self._context.untapped():
                outputs, arrived = self._repeat(response)
                pairs = [(o, g) for o, g in zip(outputs, arrived, strict=True) if o.requires_grad]
                gradients = self._differentiate(pairs, parameters, response)
        finally:
            for p, flag in zip(parameters, flags, strict=True):
                p.requires_grad_(flag)
        return dict(zip(names, widen(*gradients), strict=True))

    def _repeat(self, response: int) -> tuple[list[Tensor], list[Tensor]]:
        """Compute the outputs of one response with their graph, and pick the gradients that arrived at them.

        Returns:
            Outputs and gradients, in the same order; only outputs at which a gradient arrived.

        Raises:
            UnreadableGradientError: no way to split rows makes the module return what it returned before.
        """
        failure: Exception | None = None
        splits = [self._split] if self._split is not None else row_splits(self._call, self._context.responses)
        for split in splits:
            try:
                result = self._outputs(split, response)
            except Exception as error:  # whatever a module does with arguments that it did not expect
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                failure = failure or error
                continue
            if result is not None:
                self._split = split
                return result
        raise self._refusal(response, failure) from None

    def _outputs(self, split: RowSplit, response: int) -> tuple[list[Tensor], list[Tensor]] | None:
        """Call the module with the rows of one response; None where it returns something else than before."""
        call, responses = self._call, self._context.responses
        leaves, structure = pytree.tree_flatten((call.args, call.kwargs))
        rows = [split(leaf, responses, response) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        args, kwargs = pytree.tree_unflatten(rows, structure)
        kind, dtype = call.outputs[0].device.type, call.autocast
        with torch.autocast(kind, dtype=dtype, enabled=dtype is not None, cache_enabled=False):
            produced, _ = pytree.tree_flatten(call.module(*args, **kwargs))
        again = [o for o in produced if isinstance(o, Tensor) and o.is_floating_point()]
        outputs, arrived = [], []
        for output, before, gradient in zip(again, call.outputs, call.gradients, strict=True):
            if gradient is None:
                continue
            expected = split(before, responses, response)
            is_split = expected.numel() * responses == before.numel()
            if not is_split or not _same(output.detach(), expected, float(before.abs().max())):
                return None
            outputs.append(output)
            arrived.append(split(gradient, responses, response))
        return outputs, arrived

    def _differentiate(
        self, pairs: Sequence[tuple[Tensor, Tensor]], parameters: Sequence[Tensor], response: int
    ) -> Sequence[Tensor]:
        if not pairs:
            return [torch.zeros_like(p) for p in parameters]
        outputs, arrived = zip(*pairs, strict=True)
        try:
            return torch.autograd.grad(outputs, parameters, arrived, allow_unused=True, materialize_grads=True)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise self._refusal(response, error) from None

    def _refusal(self, response: int, failure: Exception | None) -> UnreadableGradientError:
        if failure is not None:
            reason = f"{type(failure).__name__}: {(str(failure).splitlines() or [''])[0]}"
            problem = f"cannot be called and differentiated with the rows of response {response} alone ({reason})"
        else:
            problem = (
                f"gives response {response} another output alone than among the {self._context.responses} responses "
                "of its batch"
            )
        return UnreadableGradientError(
            f"A `{type(self._call.module).__name__}` {problem}, so responses do not have gradients of their own in "
            "it. Freeze its parameters, or use `brute_force_batch_gram`.",
            module=self._call.module,
            mixed=True,
        )


def _same(again: Tensor, expected: Tensor, largest: float) -> bool:
    tolerance = _SAME.get(expected.dtype, _SAME_HALF) * max(largest, 1e-30)
    same_shape = again.shape == expected.shape
    return same_shape and (expected.numel() == 0 or float((again - expected).abs().max()) <= tolerance)
