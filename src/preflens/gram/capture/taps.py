"""Taps capture the inputs of modules and the gradients that reach their outputs. Only this file installs such hooks.

A tap is an identity on a module's output that saves the module's inputs. When the backward pass reaches it, inputs and
output gradients are delivered together. Inputs are saved with `save_for_backward`, so gradient checkpointing drops and
recomputes them like everything else. Nothing is stored on the modules.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from preflens.errors import UnreadableGradientError
from preflens.gram.capture.calls import Keep, ModuleCall, Reading
from preflens.gram.capture.tap_function import TapFrame, TapFunction

# Called at every call of a module, as it is made; the state's `switched_off` lets it call the module again.
Recognize = Callable[[ModuleCall, "TapState"], Reading]


class TapState:
    """Counts the taps of a pass, and switches them off and on.

    Attributes:
        recorded: number of tapped calls of each module since the count was last reset.
        skipped: number of calls while gradients were disabled.
        empty: number of calls without any rows, as of an expert that no token was sent to.
        forward_done: ignore further forward passes; only what the backward pass recomputes is tapped.
        anchor: part of every tapped graph, so that a backward pass towards it meets every tap; or None.
        rows: number of rows of the batch. A table of positions that is looked up once for all rows is then repeated for
            each row, so that gradients can be assigned to responses. None to leave it unchanged.
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
        """Whether calls are ignored at present."""
        return self._disabled or (self.forward_done and not _in_backward())

    def disable(self) -> None:
        """Disable all taps for good."""
        self._disabled = True

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Disable all taps inside a context."""
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
    on_error: Callable[[Exception], None] | None = None,
) -> Iterator[TapState]:
    """Tap modules inside a context.

    Taps are inactive where gradients are disabled, as in reference passes.

    Args:
        modules: the modules, each with the function that finds the rule for its calls.
        sink: called in the backward pass, with gradients disabled, for every tapped call that it reaches.
        force: make tapped outputs require a gradient even if no parameter does, so that a pass with frozen parameters
            has a backward pass.
        on_error: receives exceptions, after which the pass goes on without that tap; for passes of other code. None to
            raise them.

    Yields:
        The state of the taps.
    """
    state = TapState(torch.zeros((), requires_grad=True) if force else None)
    untapped: set[nn.Module] = set()

    def handle_error(error: Exception) -> None:
        if on_error is None:
            raise error
        on_error(error)

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
                args, output = _repeated_per_row(args, output, state.rows)
            return _tapped(
                module, args, kwargs, output, sink=sink, on_error=handle_error, state=state, recognize=modules[module]
            )
        except Exception as error:
            if _in_backward():
                raise  # checkpoints end their recomputation by an exception, raised where a tap saves tensors
            # The other taps stay: gradient checkpointing has to meet again what it met in the forward pass.
            untapped.add(module)
            handle_error(error)
            return None

    with ExitStack() as stack:
        for module in modules:
            handle = module.register_forward_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
        yield state


def _in_backward() -> bool:
    return bool(torch._C._current_graph_task_id() != -1)


def _repeated_per_row(args: tuple[Any, ...], output: Tensor, rows: int) -> tuple[tuple[Any, ...], Tensor]:
    """Repeat a look-up of one row; its gradient is then summed one step later, and is the same."""
    if len(output) != 1 or rows == 1 or len(args) != 1 or not isinstance(args[0], Tensor):
        return args, output
    return (args[0].expand(rows, *args[0].shape[1:]),), output.expand(rows, *output.shape[1:])


def _tapped(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: object,
    *,
    sink: Callable[[ModuleCall], None],
    on_error: Callable[[Exception], None],
    state: TapState,
    recognize: Recognize,
) -> object:
    leaves, structure = _flat((args, kwargs), args[0] if len(args) == 1 and not kwargs else None)
    positions = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    inputs = [leaves[i].detach() for i in positions]
    bare = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    out_leaves, out_structure = _flat(output, output)
    out_positions = [i for i, leaf in enumerate(out_leaves) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if not out_positions:
        raise UnreadableGradientError(
            f"A `{type(module).__name__}` owns trainable parameters and returns no floating-point tensor that could "
            "be followed backwards. Freeze its parameters, or use `brute_force_pair_gram`.",
            module=module,
        )
    outputs = [out_leaves[i] for i in out_positions]
    reading = recognize(ModuleCall(module, args, kwargs, tuple(outputs)), state)
    frame = TapFrame(module, sink, on_error, reading, _autocast_of(outputs[0], reading), bare, positions, structure)
    tapped: tuple[Tensor, ...] = TapFunction.apply(  # type: ignore[no-untyped-call]  # torch does not annotate it
        frame, state.anchor, len(outputs), *outputs, *inputs
    )
    for position, tensor in zip(out_positions, tapped, strict=True):
        out_leaves[position] = tensor
    return out_leaves[0] if out_structure is None else pytree.tree_unflatten(out_leaves, out_structure)


def _autocast_of(output: Tensor, reading: Reading) -> torch.dtype | None:
    """The type of autocast; needed only where the module may be called again."""
    kind = output.device.type
    if reading.keep is not Keep.COPY or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def _flat(tree: object, alone: object) -> tuple[list[Any], pytree.TreeSpec | None]:
    """Leaves of a tree and its structure; None for the structure of a single tensor."""
    return ([alone], None) if isinstance(alone, Tensor) else pytree.tree_flatten(tree)
