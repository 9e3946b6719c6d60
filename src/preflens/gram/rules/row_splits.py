"""Ways to find the rows of one response in the tensors of a module."""

from collections.abc import Callable, Iterator

from torch import Tensor
from torch.utils import _pytree as pytree

from preflens.gram.capture.calls import ModuleCall

# (tensor, number of responses, response) → the rows of that response.
RowSplit = Callable[[Tensor, int, int], Tensor]


def row_splits(call: ModuleCall, responses: int) -> Iterator[RowSplit]:
    """Yield ways to split the tensors of a call by response, the most likely first.

    Args:
        call: with its outputs.
        responses: number of responses.

    Yields:
        Functions from a tensor to the rows of one response.
    """
    leaves = [*pytree.tree_leaves((call.args, call.kwargs)), *call.outputs]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.ndim > 0]
    if any(len(t) == responses for t in tensors):
        yield _first_axis
    yield _flattened
    if any(t.ndim > 1 and t.shape[1] == responses for t in tensors):
        yield _streams
        yield _second_axis


def _first_axis(value: Tensor, responses: int, response: int) -> Tensor:
    """The first axis is that of responses where it is as long; other tensors stay whole."""
    return value[response : response + 1] if value.ndim and len(value) == responses else value


def _flattened(value: Tensor, responses: int, response: int) -> Tensor:
    """The rows of a response follow each other: tokens, or heads."""
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
