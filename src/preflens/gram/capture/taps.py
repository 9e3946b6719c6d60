"""Taps: what goes into modules and which gradient comes back to their outputs. The only file that installs hooks.

A tap is an identity on a module's output that remembers the module's inputs; when the backward pass reaches it, inputs
and output gradients are handed over together. Inputs are kept with `save_for_backward`, so gradient checkpointing drops
and recomputes them like everything else. Nothing is stored on the modules.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from preflens.errors import UnreadableGradientError


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module, seen from the backward pass; while it is being made there are no gradients yet.

    Attributes:
        module: the module.
        args: what it was called with.
        kwargs: and by name.
        outputs: the floating-point tensors it returned; empty where they were not to be kept.
        gradients: of the differentiated number with respect to each of them; None where there is none.
        reading: how its parameters' gradients are read off it; None while that is being found out.
        autocast: the type that the module computed in where autocast was on; else None.
    """

    module: nn.Module
    args: tuple[Any, ...]  # Any: whatever modules take
    kwargs: dict[str, Any]
    outputs: tuple[Tensor, ...]
    gradients: tuple[Tensor | None, ...] = ()
    reading: "Reading | None" = None
    autocast: torch.dtype | None = None


class Keep(Enum):
    """What of a call's outputs is to be kept until the backward pass."""

    NOTHING = "nothing"
    ALIAS = "the tensors themselves"
    COPY = "copies, which the model cannot change in place"


@dataclass(frozen=True)
class Reading:
    """How gradients are read off a call.

    Attributes:
        rule: does it.
        keep: what it needs of the outputs.
    """

    rule: Callable[..., Any]  # a rule, which knows calls
    keep: Keep


# Asked at every call, as it is made; the state's `switched_off` lets it call the module again.
Recognize = Callable[[ModuleCall, "TapState"], Reading]

# Modules whose outputs a model has changed in place, so that no alias of them is of any use.
CHANGED: WeakSet[nn.Module] = WeakSet()


class TapState:
    """Counts the taps of a pass and switches them off for a while.

    Attributes:
        recorded: how often each module was called with a tap since the count was last reset.
        skipped: how often while gradients were disabled.
        empty: how often with nothing in it, as an expert that no token was sent to.
        forward_done: let further forward passes go by; only what the backward pass recomputes is tapped.
        anchor: part of every tapped graph, so that a backward pass towards it meets every tap; or None.
        rows: how many rows the batch has; tables of positions that are looked up once for all rows are then repeated
            for each, so that their gradients can be told apart. None to leave them as they are.
    """

    def __init__(self, anchor: Tensor | None) -> None:
        self.anchor = anchor
        self.recorded: Counter[nn.Module] = Counter()
        self.skipped: Counter[nn.Module] = Counter()
        self.empty: Counter[nn.Module] = Counter()
        self.forward_done = False
        self.rows: int | None = None
        self._disabled = False

    @property
    def inactive(self) -> bool:
        """Whether taps let everything pass."""
        return self._disabled or (self.forward_done and not _in_backward())

    def disable(self) -> None:
        """Disable all taps for good."""
        self._disabled = True

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Let modules be called without taps."""
        before, self._disabled = self._disabled, True
        try:
            yield
        finally:
            self._disabled = before


@contextmanager
def taps(
    modules: Mapping[nn.Module, Recognize],
    sink: Callable[[ModuleCall], None],
    *,
    force: bool,
    mishap: Callable[[Exception], None] | None = None,
) -> Iterator[TapState]:
    """Tap modules for a while.

    Taps are idle where gradients are disabled, as in reference passes.

    Args:
        modules: which, and who says how each is to be read.
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
        if state.inactive or module in untapped:
            return None
        if isinstance(output, Tensor) and output.numel() == 0:
            state.empty[module] += 1
            return None
        if not torch.is_grad_enabled():
            state.skipped[module] += 1
            return None
        state.recorded[module] += 1
        try:
            if isinstance(module, nn.Embedding) and state.rows is not None and isinstance(output, Tensor):
                args, output = _for_each_row(args, output, state.rows)
            return _tapped(
                module, args, kwargs, output, sink=sink, harmed=harmed, state=state, recognize=modules[module]
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
    sink: Callable[[ModuleCall], None]
    harmed: Callable[[Exception], None]
    reading: Reading
    autocast: torch.dtype | None
    leaves: list[Any]  # Any: whatever modules take; None where a tensor belongs
    places: list[int]
    structure: pytree.TreeSpec | None  # None for a single tensor, the common case: trees cost more than they look

    def receive(self, saved: tuple[Tensor, ...] | None, gradients: tuple[Tensor | None, ...]) -> None:
        """Hand the call over."""
        try:
            self.sink(self._call(saved, gradients))
        except Exception as error:
            self.harmed(error)

    def _call(self, saved: tuple[Tensor, ...] | None, gradients: tuple[Tensor | None, ...]) -> ModuleCall:
        """Fill in the tensors; without them where the model has changed them in place."""
        if saved is None:
            return ModuleCall(self.module, (), {}, (), gradients, Reading(self._lost(), Keep.NOTHING))
        filled = list(self.leaves)
        for place, tensor in zip(self.places, saved[: len(self.places)], strict=True):
            filled[place] = tensor
        args, kwargs = ((filled[0],), {}) if self.structure is None else pytree.tree_unflatten(filled, self.structure)
        outputs = saved[len(self.places) :]
        return ModuleCall(self.module, args, kwargs, outputs, gradients, self.reading, self.autocast)

    def _lost(self) -> Callable[..., Any]:
        """A rule that refuses; the next pass may do without the outputs."""
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


def _tapped(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: object,
    *,
    sink: Callable[[ModuleCall], None],
    harmed: Callable[[Exception], None],
    state: TapState,
    recognize: Recognize,
) -> object:
    leaves, structure = _flat((args, kwargs), args[0] if len(args) == 1 and not kwargs else None)
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    inputs = [leaves[i].detach() for i in places]
    bare = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    out_leaves, out_structure = _flat(output, output)
    out_places = [i for i, leaf in enumerate(out_leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not out_places:
        raise UnreadableGradientError(
            f"A `{type(module).__name__}` owns trainable parameters and returns no floating-point tensor that could "
            "be followed backwards. Freeze its parameters, or use `brute_force_pair_gram`.",
            module=module,
        )
    outputs = [out_leaves[i] for i in out_places]
    reading = recognize(ModuleCall(module, args, kwargs, tuple(outputs)), state)
    frame = _Frame(module, sink, harmed, reading, _autocast_of(outputs[0], reading), bare, places, structure)
    tapped: tuple[Tensor, ...] = _Tap.apply(  # type: ignore[no-untyped-call]  # torch does not annotate it
        frame, state.anchor, len(outputs), *outputs, *inputs
    )
    for place, tensor in zip(out_places, tapped, strict=True):
        out_leaves[place] = tensor
    return out_leaves[0] if out_structure is None else pytree.tree_unflatten(out_leaves, out_structure)


def _autocast_of(output: Tensor, reading: Reading) -> torch.dtype | None:
    """The type that autocast computes in; of use only where the module may be called again."""
    kind = output.device.type
    if reading.keep is not Keep.COPY or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


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
        count: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
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
        try:
            saved = ctx.saved_tensors  # read once: non-reentrant checkpointing recomputes them here
        except RuntimeError as error:
            if "modified by an inplace operation" not in str(error):
                raise
            saved = None
        if any(g is not None for g in gradients):
            ctx.frame.receive(saved, gradients)
        return (None, None, None, *gradients, *(None for _ in range(ctx.inputs)))
