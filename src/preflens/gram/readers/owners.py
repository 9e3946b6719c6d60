"""Which module the gradient of each trainable parameter is read off: its owner, or one around it that uses it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from preflens.errors import InputError, UnsupportedModelError
from preflens.gram.blocks import Block, Breakdown, block_names, parameter_blocks
from preflens.gram.capture.taps import Recognize
from preflens.gram.rules import recognize, recognize_whole

# Of a model: path of a parameter → path of the module around its owner whose calls use it. Found by `settling`.
Places = dict[str, str]
PLACES: WeakKeyDictionary[nn.Module, Places] = WeakKeyDictionary()
# Of a model: parameters of modules that run for nothing.
_IDLE: WeakKeyDictionary[nn.Module, set[nn.Parameter]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Owners:
    """The modules whose calls tell the gradients of trainable parameters.

    Attributes:
        module: the whole model.
        parameters: of each such module: parameter by its name there; a dotted name is that of a module inside it.
        names: of each such module, its first path in the model.
        blocks: the finest partition: parameters of one module together, those with several owners in a block of the
            owners' names.
        block_of: which block a parameter is in, by its number.
        single: parameters that are read off one module only.
        parameter_names: the first path of each parameter.
        idle: those that are known not to matter although their modules run; of the model, for all passes.
    """

    module: nn.Module
    parameters: Mapping[nn.Module, Mapping[str, nn.Parameter]]
    names: Mapping[nn.Module, str]
    blocks: tuple[Block, ...]
    block_of: Mapping[nn.Parameter, int]
    single: frozenset[nn.Parameter]
    parameter_names: Mapping[nn.Parameter, str]
    idle: set[nn.Parameter]

    def only(self, blocks: Collection[int]) -> "Owners":
        """Return the same with only the modules that own a parameter of some blocks."""
        chosen = {m: own for m, own in self.parameters.items() if any(self.block_of[p] in blocks for p in own.values())}
        return replace(self, parameters=chosen)

    def own(self, tensor: Tensor | None) -> nn.Parameter | None:
        """Return the tensor if it is one of the parameters that are differentiated."""
        return tensor if isinstance(tensor, nn.Parameter) and tensor in self.block_of else None

    def recognizers(self) -> dict[nn.Module, Recognize]:
        """Return the modules to tap, and who says how each is to be read."""
        return {
            module: recognize_whole if any("." in name for name in own) else recognize
            for module, own in self.parameters.items()
        }

    def grouped(
        self, products: Sequence[Tensor | None], by: Breakdown | None, *, shape: tuple[int, ...]
    ) -> tuple[Tensor, tuple[str, ...] | None]:
        """Add the products of the finest blocks up to those of coarser ones; unused parameters have zeros.

        Args:
            products: one tensor per block of `blocks`, None for no contribution.
            by: the coarser partition; None for one sum over everything.
            shape: of one block's products.

        Returns:
            The products, with a leading block axis unless `by` is None, and the names of the blocks.
        """
        present = [(block, p.cpu()) for block, p in zip(self.blocks, products, strict=True) if p is not None]
        if by is None:
            return sum((p for _, p in present), torch.zeros(shape, dtype=torch.float64)), None
        blocks = parameter_blocks(self.module, by)
        number_of = {p: number for number, block in enumerate(blocks) for p in block.parameters}
        total = torch.zeros(len(blocks), *shape, dtype=torch.float64)
        for block, contribution in present:
            total[number_of[block.parameters[0]]] += contribution
        return total, block_names(blocks, by)

    def groups(self, module: nn.Module) -> tuple[tuple[str, ...], ...]:
        """Return the names of a module's parameters, those together that belong to one block and to it alone."""
        if len(self.parameters[module]) == 1:
            return (tuple(self.parameters[module]),)
        together: dict[object, list[str]] = {}
        for name, p in self.parameters[module].items():
            together.setdefault(self.block_of[p] if p in self.single else p, []).append(name)
        return tuple(tuple(names) for names in together.values())


def find_owners(module: nn.Module, *, dropout: bool) -> Owners:
    """Find where the gradients of all trainable parameters are read off.

    Args:
        module: the whole model.
        dropout: whether a dropout that drops is welcome.

    Returns:
        The owners.
    """
    modules, places = dict(module.named_modules(remove_duplicate=False)), PLACES.get(module, {})
    for path, child in modules.items():
        _refuse_batch_statistics(path, child)
        if not dropout:
            _refuse_dropout(path, child)
    blocks = parameter_blocks(module, "module")
    named = [
        (f"{path}.{name}" if path else name, p)
        for path, child in modules.items()
        for name, p in child._parameters.items()
        if p is not None and p.requires_grad
    ]
    moved: dict[nn.Parameter, list[str]] = {}
    for path, p in named:
        if path in places:
            moved.setdefault(p, []).append(places[path])
    owned: dict[nn.Module, dict[str, nn.Parameter]] = {}
    names: dict[nn.Module, str] = {}
    seen: set[tuple[nn.Module, nn.Parameter]] = set()
    for path, p in named:
        place = places.get(path, owner_path(path))
        if any(is_inside(place, other) for other in moved.get(p, [])):
            continue  # a use within a call that it is read off anyway
        owner = modules[place]
        if (owner, p) not in seen:
            seen.add((owner, p))
            owned.setdefault(owner, {})[path.removeprefix(f"{place}.") if place else path] = p
            names.setdefault(owner, place)
    counts: dict[nn.Parameter, int] = {}
    for _, p in seen:
        counts[p] = counts.get(p, 0) + 1
    block_of = {p: number for number, block in enumerate(blocks) for p in block.parameters}
    single = frozenset(p for p, count in counts.items() if count == 1)
    parameter_names = {p: path for path, p in reversed(named)}
    return Owners(module, owned, names, blocks, block_of, single, parameter_names, _IDLE.setdefault(module, set()))


def owner_path(path: str) -> str:
    """Return the path of the module that owns a parameter.

    Args:
        path: of the parameter.

    Returns:
        The part before its own name; nothing for the model itself.
    """
    return path.rpartition(".")[0]


def is_inside(path: str, around: str) -> bool:
    """Tell whether a module lies inside another one.

    Args:
        path: of the one.
        around: of the other.

    Returns:
        Whether it does; no module lies inside itself.
    """
    return path != around and (not around or path.startswith(f"{around}."))


def drops(module: nn.Module) -> bool:
    """Tell whether a module is a dropout that is active.

    Args:
        module: one module.

    Returns:
        Whether it drops anything.
    """
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0


def _refuse_dropout(path: str, module: nn.Module) -> None:
    if drops(module):
        raise InputError(
            f"Dropout is active in `{path}`, so every pass has other gradients. Call `model.eval()`, or pass "
            "`dropout=True` for the geometry of one draw."
        )


def _refuse_batch_statistics(path: str, module: nn.Module) -> None:
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
        raise UnsupportedModelError(
            f"`{path}` (a `{type(module).__name__}` in training mode) takes statistics over the batch, so a response "
            "has no gradient of its own. Call `model.eval()`."
        )
