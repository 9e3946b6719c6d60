"""Any module at all, exactly and slowly: it is called again for each response and differentiated.

Serves experts with three-dimensional weights, routers, DoRA's magnitudes, and whatever comes next. The outputs of the
repeated calls must be the outputs of the first one, so a module that mixes responses is noticed.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from preflens.errors import UnsupportedModelError
from preflens.gram.products.factors import PerResponse, widen
from preflens.gram.rules.base import Claim, Request, check_rows
from preflens.gram.tap import Call

# How much the output of a repeated call may differ, as a share of the largest: another batch size, other kernels.
_SAME = {torch.float64: 1e-6, torch.float32: 1e-3}
_SAME_HALF = 5e-2


def any_module(call: Call, request: Request) -> list[Claim]:
    """Claim all of a module's own parameters that are wanted.

    Args:
        call: of the module, with its outputs kept.
        request: what is asked.

    Returns:
        One claim of the parameters that are this module's alone, and one for each of the others.
    """
    check_rows(len(call.outputs[0]), call.module, request.responses)

    @lru_cache(maxsize=2)
    def gradients(response: int) -> dict[str, Tensor]:
        return _gradients(call, request, response)

    own = tuple(name for name in request.wanted if name in request.private)
    shared = [(name,) for name in request.wanted if name not in request.private]
    return [_claim(names, request.responses, gradients) for names in (own, *shared) if names]


def _claim(names: tuple[str, ...], responses: int, gradients: Callable[[int], dict[str, Tensor]]) -> Claim:
    def gradient(response: int) -> Tensor:
        found = gradients(response)
        return torch.cat([found[name].flatten() for name in names])

    return Claim(names, PerResponse(responses, gradient))


def _gradients(call: Call, request: Request, response: int) -> dict[str, Tensor]:
    """The gradient of one response with respect to each of the module's wanted parameters."""
    parameters = [call.module.get_parameter(name) for name in request.wanted]
    flags = [p.requires_grad for p in parameters]
    try:
        for p in parameters:
            p.requires_grad_(True)
        with torch.enable_grad(), request.untapped():
            outputs = _again(call, request.responses, response)
            arrived = [_cut(g, request.responses, response) for g in call.gradients]
            pairs = [(o, g) for o, g in zip(outputs, arrived, strict=True) if g is not None and o.requires_grad]
            found = torch.autograd.grad(
                [o for o, _ in pairs], parameters, [g for _, g in pairs], allow_unused=True, materialize_grads=True
            )
    finally:
        for p, flag in zip(parameters, flags, strict=True):
            p.requires_grad_(flag)
    return dict(zip(request.wanted, widen(*found), strict=True))


def _again(call: Call, responses: int, response: int) -> list[Tensor]:
    """Call the module with the rows of one response, and check that it returns what it returned."""
    leaves, structure = pytree.tree_flatten((call.args, call.kwargs))
    args, kwargs = pytree.tree_unflatten([_cut(leaf, responses, response) for leaf in leaves], structure)
    produced, _ = pytree.tree_flatten(call.module(*args, **kwargs))
    outputs = [o for o in produced if isinstance(o, Tensor) and o.is_floating_point()]
    for again, whole in zip(outputs, call.outputs, strict=True):
        first = _cut(whole, responses, response)
        largest = float(whole.abs().max())
        tolerance = _SAME.get(whole.dtype, _SAME_HALF) * max(largest, 1e-30)
        if again.shape != first.shape or float((again.detach() - first).abs().max()) > tolerance:
            raise UnsupportedModelError(
                f"A `{type(call.module).__name__}` gives response {response} another output alone than among the "
                f"{responses} responses of its batch, so responses do not have gradients of their own in it. "
                "Freeze its parameters, or use `exact_batch_gram`."
            )
    return outputs


def _cut(value: Any, responses: int, response: int) -> Any:  # noqa: ANN401  # a leaf of whatever a module takes
    """Rows of one response; what is not a tensor with rows of all responses stays whole."""
    if not isinstance(value, Tensor) or value.ndim == 0 or len(value) < responses or len(value) % responses:
        return value
    rows = len(value) // responses
    return value[response * rows : (response + 1) * rows]
