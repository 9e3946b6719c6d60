"""Taps: what goes into modules and which gradient comes back to their outputs. The only file that installs hooks.

A tap is an identity on a module's output that remembers the module's inputs; when the backward pass reaches it, inputs
and output gradients are handed over together. Inputs are kept with `save_for_backward`, so gradient checkpointing drops
and recomputes them like everything else. Nothing is stored on the modules.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from preflens.errors import UnsupportedModelError


@dataclass(frozen=True)
class Call:
    """One call of a module, seen from the backward pass.

    Attributes:
        module: the module.
        args: what it was called with.
        kwargs: and by name.
        outputs: the floating-point tensors it returned; empty where they were not to be kept.
        gradients: of the differentiated number with respect to each of them; None where there is none.
    """

    module: nn.Module
    args: tuple[Any, ...]  # Any: whatever modules take
    kwargs: dict[str, Any]
    outputs: tuple[Tensor, ...]
    gradients: tuple[Tensor | None, ...]


class TapState:
    """Counts the taps of a pass and switches them off for a while.

    Attributes:
        recorded: how often each module was called with a tap since the count was last reset.
        skipped: how often while gradients were disabled.
        closed: let further forward passes go by; only what the backward pass recomputes is tapped.
        anchor: part of every tapped graph, so that a backward pass towards it meets every tap; or None.
        rows: how many rows the batch has; tables of positions that are looked up once for all rows are then repeated
            for each, so that their gradients can be told apart. None to leave them as they are.
    """

    def __init__(self, anchor: Tensor | None) -> None:
        self.anchor = anchor
        self.recorded: Counter[nn.Module] = Counter()
        self.skipped: Counter[nn.Module] = Counter()
        self.closed = False
        self.rows: int | None = None
        self._idle = False

    @property
    def idle(self) -> bool:
        """Whether taps let everything pass."""
        return self._idle or (self.closed and not _in_backward())

    def retire(self) -> None:
        """Let everything pass from now on."""
        self._idle = True

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Let modules be called without taps."""
        before, self._idle = self._idle, True
        try:
            yield
        finally:
            self._idle = before


@contextmanager
def taps(
    modules: Mapping[nn.Module, bool],
    sink: Callable[[Call], None],
    *,
    force: bool,
    mishap: Callable[[Exception], None] | None = None,
) -> Iterator[TapState]:
    """Tap modules for a while.

    Taps are idle where gradients are disabled, as in reference passes.

    Args:
        modules: which, and whether their outputs are to be kept too.
        sink: called in the backward pass, with gradients disabled, for every tapped call that it reaches.
        force: make tapped outputs require a gradient even if no parameter does, so that a pass whose parameters are
            frozen is still walked backwards.
        mishap: told of exceptions in place of the pass, which then goes on without that tap; for passes that are
            somebody else's. None to raise them.

    Yields:
        Counts of the calls, and a switch.
    """
    state = TapState(torch.zeros((), requires_grad=True) if force else None)

    untapped: set[nn.Module] = set()

    def harmed(error: Exception) -> None:
        if mishap is None:
            raise error
        mishap(error)

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> object:
        if state.idle or module in untapped:
            return None
        if not torch.is_grad_enabled():
            state.skipped[module] += 1
            return None
        state.recorded[module] += 1
        try:
            if isinstance(module, nn.Embedding) and state.rows is not None and isinstance(output, Tensor):
                args, output = _for_each_row(args, output, state.rows)
            return _tapped(
                module, args, kwargs, output, sink=sink, harmed=harmed, anchor=state.anchor, keep=modules[module]
            )
        except Exception as error:
            if _in_backward():
                raise  # checkpoints end their recomputation by an exception, out of what a tap saves
            # The other taps stay: gradient checkpointing wants to meet again what it met in the forward pass.
            untapped.add(module)
            harmed(error)
            return None

    with ExitStack() as stack:
        for module in modules:
            handle = module.register_forward_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
        yield state


def _in_backward() -> bool:
    return bool(torch._C._current_graph_task_id() != -1)


def _for_each_row(args: tuple[Any, ...], output: Tensor, rows: int) -> tuple[tuple[Any, ...], Tensor]:
    """Repeat a look-up of one row; its gradient is then summed one step later, and is the same."""
    if len(output) != 1 or rows == 1 or len(args) != 1 or not isinstance(args[0], Tensor):
        return args, output
    return (args[0].expand(rows, *args[0].shape[1:]),), output.expand(rows, *output.shape[1:])


@dataclass(frozen=True)
class _Frame:
    """A call without its tensors, which autograd keeps."""

    module: nn.Module
    sink: Callable[[Call], None]
    harmed: Callable[[Exception], None]
    leaves: list[Any]  # Any: whatever modules take; None where a tensor belongs
    places: list[int]
    structure: pytree.TreeSpec | None  # None for a single tensor, the common case: trees cost more than they look

    def receive(self, saved: tuple[Tensor, ...], gradients: tuple[Tensor | None, ...]) -> None:
        """Fill in the tensors and hand the call over."""
        try:
            filled = list(self.leaves)
            for place, tensor in zip(self.places, saved[: len(self.places)], strict=True):
                filled[place] = tensor
            tree = self.structure
            args, kwargs = ((filled[0],), {}) if tree is None else pytree.tree_unflatten(filled, tree)
            self.sink(Call(self.module, args, kwargs, saved[len(self.places) :], gradients))
        except Exception as error:
            self.harmed(error)


def _tapped(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: object,
    *,
    sink: Callable[[Call], None],
    harmed: Callable[[Exception], None],
    anchor: Tensor | None,
    keep: bool,
) -> object:
    leaves, structure = _flat((args, kwargs), args[0] if len(args) == 1 and not kwargs else None)
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    inputs = [leaves[i].detach() for i in places]
    bare = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    out_leaves, out_structure = _flat(output, output)
    out_places = [i for i, leaf in enumerate(out_leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not out_places:
        raise UnsupportedModelError(
            f"A `{type(module).__name__}` owns trainable parameters and returns no floating-point tensor that could "
            "be followed backwards. Freeze its parameters, or use `exact_pair_gram`."
        )
    frame = _Frame(module, sink, harmed, bare, places, structure)
    outputs = [out_leaves[i] for i in out_places]
    tapped: tuple[Tensor, ...] = _Tap.apply(  # type: ignore[no-untyped-call]  # torch does not annotate it
        frame, anchor, keep, len(outputs), *outputs, *inputs
    )
    for place, tensor in zip(out_places, tapped, strict=True):
        out_leaves[place] = tensor
    return out_leaves[0] if out_structure is None else pytree.tree_unflatten(out_leaves, out_structure)


def _flat(tree: object, alone: object) -> tuple[list[Any], pytree.TreeSpec | None]:
    """Leaves of a tree and its structure; None where a single tensor is all there is."""
    return ([alone], None) if isinstance(alone, Tensor) else pytree.tree_flatten(tree)


class _Tap(torch.autograd.Function):
    """Identity on outputs that hands saved inputs and arriving gradients over."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch gives it no public type
        frame: _Frame,
        anchor: Tensor | None,  # noqa: ARG004  # its place in the graph is its use
        keep: bool,
        count: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.frame, ctx.inputs = frame, len(tensors) - count
        ctx.set_materialize_grads(False)
        # An alias, not the tensor itself: autograd forbids in-place operations on an input that is returned as it is.
        outputs = tuple(t.detach() for t in tensors[:count])
        ctx.save_for_backward(*tensors[count:], *(t.detach() for t in tensors[: count if keep else 0]))
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401  # as above
        saved = ctx.saved_tensors  # read once: non-reentrant checkpointing recomputes them here
        if any(g is not None for g in gradients):
            ctx.frame.receive(saved, gradients)
        return (None, None, None, None, *gradients, *(None for _ in range(ctx.inputs)))
