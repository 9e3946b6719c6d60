"""Gradients by autograd that leave every `.grad` unchanged, also through reentrant checkpointing."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def differentiate(value: Float[Tensor, ""], parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Return the gradient of a number with respect to each parameter; its graph is retained.

    Args:
        value: the number.
        parameters: with `requires_grad`.

    Returns:
        One tensor per parameter, None where the parameter is not used.
    """
    if not value.requires_grad or not parameters:
        return [None for _ in parameters]
    if not is_reentrant(value):
        return list(torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True))
    saved = [p.grad for p in parameters]
    try:
        for p in parameters:
            p.grad = None
        value.backward(retain_graph=True)
        return [p.grad for p in parameters]
    finally:
        for p, grad in zip(parameters, saved, strict=True):
            p.grad = grad


def is_reentrant(root: Tensor) -> bool:
    """Return whether a graph has reentrant checkpoints, which `torch.autograd.grad` refuses.

    Args:
        root: end of the graph.

    Returns:
        True if it has.
    """
    return any(node.name() == "CheckpointFunctionBackward" for node in _nodes(root))


def leaves_of(root: Tensor) -> set[Tensor]:
    """Find the tensors that a gradient would reach.

    Args:
        root: end of a graph without reentrant checkpoints, which hide their own leaves.

    Returns:
        The leaves of the graph.
    """
    # A node that adds to `.grad` knows the tensor whose `.grad` that is.
    return {node.variable for node in _nodes(root) if hasattr(node, "variable")}


def _nodes(root: Tensor) -> Iterator[torch.autograd.graph.Node]:
    visited, todo = set(), [root.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in visited:
            continue
        visited.add(node)
        todo += [following for following, _ in node.next_functions]
        yield node


def grad_version(parameter: nn.Parameter) -> tuple[int, int] | None:
    """Return a value that changes when something is written to a parameter's `.grad`.

    Args:
        parameter: any.

    Returns:
        The identity of the tensor and the number of writes to it; None where there is no `.grad`.
    """
    grad = parameter.grad
    return None if grad is None else (id(grad), grad._version)
