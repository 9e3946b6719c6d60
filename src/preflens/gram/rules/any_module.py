"""Any module at all, exactly and slowly: it is called again for each response and differentiated.

Serves experts with three-dimensional weights, routers, DoRA's magnitudes, modules that use the parameters of others
inside them, and whatever comes next. The outputs of the repeated calls must be the outputs of the first one, so a
module that mixes responses is noticed.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from preflens.errors import UnreadableGradientError
from preflens.gram.capture.taps import ModuleCall
from preflens.gram.factors.factors import OnDemand
from preflens.gram.factors.precision import widen
from preflens.gram.rules.base import LayerGradients, RuleContext

# How much the output of a repeated call may differ, as a share of the largest: another batch size, other kernels.
_SAME = {torch.float64: 1e-6, torch.float32: 1e-3}
_SAME_HALF = 5e-2
# Gradients are asked for claim by claim. So many numbers are remembered, lest a module be called again for each.
_REMEMBERED = 1 << 22

# Which rows of a tensor belong to a response: (tensor, responses, response) to its part.
Cut = Callable[[Tensor, int, int], Tensor]


def any_module(call: ModuleCall, request: RuleContext) -> list[LayerGradients]:
    """Claim all wanted parameters of a module.

    Args:
        call: of the module, with its outputs kept.
        request: what is asked.

    Returns:
        One claim for each group of parameters.
    """
    numel = sum(call.module.get_parameter(name).numel() for name in request.wanted)
    rerun = _Rerun(call, request)
    gradients = lru_cache(maxsize=max(2, min(request.responses, _REMEMBERED // max(1, numel))))(rerun.gradients)
    return [_claim(names, request.responses, gradients) for names in request.groups]


def _claim(names: tuple[str, ...], responses: int, gradients: Callable[[int], dict[str, Tensor]]) -> LayerGradients:
    def gradient(response: int) -> Tensor:
        found = gradients(response)
        return torch.cat([found[name].flatten() for name in names])

    return LayerGradients(names, OnDemand(responses, gradient))


class _Rerun:
    """Calls a module again, with the rows of one response.

    Args:
        call: the first call.
        request: what is asked.
    """

    def __init__(self, call: ModuleCall, request: RuleContext) -> None:
        self._call, self._request = call, request
        self._cut: Cut | None = None

    def gradients(self, response: int) -> dict[str, Tensor]:
        """Differentiate the module for one response.

        Args:
            response: its number.

        Returns:
            The gradient with respect to each of the wanted parameters.
        """
        parameters = [self._call.module.get_parameter(name) for name in self._request.wanted]
        flags = [p.requires_grad for p in parameters]
        try:
            for p in parameters:
                p.requires_grad_(True)
            with torch.enable_grad(), self._request.untapped():
                outputs, arrived = self._again(response)
                pairs = [(o, g) for o, g in zip(outputs, arrived, strict=True) if o.requires_grad]
                found = self._differentiated(pairs, parameters, response)
        finally:
            for p, flag in zip(parameters, flags, strict=True):
                p.requires_grad_(flag)
        return dict(zip(self._request.wanted, widen(*found), strict=True))

    def _again(self, response: int) -> tuple[list[Tensor], list[Tensor]]:
        """Outputs of one response with their graph, and what arrived at them, where anything did.

        Returns:
            Both, in the same order.

        Raises:
            UnreadableGradientError: in no way of telling rows apart does the module return what it returned.
        """
        failure: Exception | None = None
        for cut in [self._cut] if self._cut is not None else _cuts(self._call, self._request.responses):
            try:
                found = self._outputs(cut, response)
            except Exception as error:  # whatever a module does with arguments that it did not expect
                if isinstance(error, torch.OutOfMemoryError):
                    raise
                failure = failure or error
                continue
            if found is not None:
                self._cut = cut
                return found
        raise self._refusal(response, failure) from None

    def _outputs(self, cut: Cut, response: int) -> tuple[list[Tensor], list[Tensor]] | None:
        """Call the module with the rows of one response; None where it returns something else than before."""
        call, responses = self._call, self._request.responses
        leaves, structure = pytree.tree_flatten((call.args, call.kwargs))
        rows = [cut(leaf, responses, response) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        args, kwargs = pytree.tree_unflatten(rows, structure)
        kind, dtype = call.outputs[0].device.type, call.autocast
        with torch.autocast(kind, dtype=dtype, enabled=dtype is not None, cache_enabled=False):
            produced, _ = pytree.tree_flatten(call.module(*args, **kwargs))
        again = [o for o in produced if isinstance(o, Tensor) and o.is_floating_point()]
        outputs, arrived = [], []
        for output, whole, gradient in zip(again, call.outputs, call.gradients, strict=True):
            if gradient is None:
                continue
            first = cut(whole, responses, response)
            told_apart = first.numel() * responses == whole.numel()
            if not told_apart or not _same(output.detach(), first, float(whole.abs().max())):
                return None
            outputs.append(output)
            arrived.append(cut(gradient, responses, response))
        return outputs, arrived

    def _differentiated(
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
        kind = type(self._call.module).__name__
        if failure is not None:
            found = (
                f"cannot be called and differentiated with the rows of response {response} alone ({_in_words(failure)})"
            )
        else:
            found = (
                f"gives response {response} another output alone than among the {self._request.responses} responses "
                "of its batch"
            )
        return UnreadableGradientError(
            f"A `{kind}` {found}, so responses do not have gradients of their own in it. Freeze its parameters, or use "
            "`brute_force_batch_gram`.",
            module=self._call.module,
            mixed=True,
        )


def _same(again: Tensor, first: Tensor, largest: float) -> bool:
    tolerance = _SAME.get(first.dtype, _SAME_HALF) * max(largest, 1e-30)
    return again.shape == first.shape and (first.numel() == 0 or float((again - first).abs().max()) <= tolerance)


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _cuts(call: ModuleCall, responses: int) -> Iterator[Cut]:
    """Ways of telling rows apart, the likeliest first."""
    leaves = [*pytree.tree_leaves((call.args, call.kwargs)), *call.outputs]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim > 0]
    if any(len(t) == responses for t in tensors):
        yield _first_axis
    yield _flattened
    if any(t.ndim > 1 and t.shape[1] == responses for t in tensors):
        yield _streams
        yield _second_axis


def _first_axis(value: Tensor, responses: int, response: int) -> Tensor:
    """The first axis is that of responses where it is as long; everything else stays whole."""
    return value[response : response + 1] if value.ndim and len(value) == responses else value


def _flattened(value: Tensor, responses: int, response: int) -> Tensor:
    """The rows of a response follow each other: of tokens, or of heads."""
    if value.ndim == 0 or len(value) < responses or len(value) % responses:
        return value
    rows = len(value) // responses
    return value[response * rows : (response + 1) * rows]


def _streams(value: Tensor, responses: int, response: int) -> Tensor:
    """Several streams of [response, token, features], stacked."""
    if value.ndim > 3 and value.shape[1] == responses:
        return value[:, response : response + 1]
    return _first_axis(value, responses, response)


def _second_axis(value: Tensor, responses: int, response: int) -> Tensor:
    """The second axis is that of responses where the first one is not as long."""
    if value.ndim > 1 and len(value) != responses and value.shape[1] == responses:
        return value[:, response : response + 1]
    return _first_axis(value, responses, response)
