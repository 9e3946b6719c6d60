"""Gradients by autograd that leave every `.grad` alone, through reentrant checkpointing too."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def differentiate(value: Float[Tensor, ""], parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Return the gradient of a number with respect to each parameter; its graph stays.

    Args:
        value: the number.
        parameters: with `requires_grad`.

    Returns:
        One tensor a parameter, None where it is not used.
    """
    if not value.requires_grad or not parameters:
        return [None for _ in parameters]
    if not is_reentrant(value):
        return list(torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True))
    kept = [p.grad for p in parameters]
    try:
        for p in parameters:
            p.grad = None
        value.backward(retain_graph=True)
        return [p.grad for p in parameters]
    finally:
        for p, grad in zip(parameters, kept, strict=True):
            p.grad = grad


def is_reentrant(root: Tensor) -> bool:
    """Tell whether a graph holds reentrant checkpoints, which `torch.autograd.grad` refuses.

    Args:
        root: end of the graph.

    Returns:
        Whether it does.
    """
    return any(node.name() == "CheckpointFunctionBackward" for node in _nodes(root))


def leaves_of(root: Tensor) -> set[Tensor]:
    """Find what a gradient would reach.

    Args:
        root: end of a graph without reentrant checkpoints, which hide what is in them.

    Returns:
        The tensors at its beginnings.
    """
    # A node that adds to `.grad` knows the tensor it does that for.
    return {node.variable for node in _nodes(root) if hasattr(node, "variable")}


def _nodes(root: Tensor) -> Iterator[torch.autograd.graph.Node]:
    seen, todo = set(), [root.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        todo += [following for following, _ in node.next_functions]
        yield node


def grad_version(parameter: nn.Parameter) -> tuple[int, int] | None:
    """Return what changes when something is written to a parameter's `.grad`.

    Args:
        parameter: any.

    Returns:
        Which tensor it is and how often it was written to; None where there is none.
    """
    grad = parameter.grad
    return None if grad is None else (id(grad), grad._version)
