"""Find the modules that trainable parameters are read off, and refuse modules that make gradients meaningless."""

from collections import Counter
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from torch import nn

from preflens.errors import InputError, UnsupportedModelError
from preflens.gram.blocks import parameter_blocks
from preflens.gram.readers.owners import Owners
from preflens.gram.rules import LayerRules

# For a model: path of a parameter → path of the module around its owner whose calls use it. Found by `placement`.
PLACES: WeakKeyDictionary[nn.Module, dict[str, str]] = WeakKeyDictionary()
# For a model: parameters of modules that run without influence on the log-probs.
_IDLE: WeakKeyDictionary[nn.Module, set[nn.Parameter]] = WeakKeyDictionary()


def find_owners(module: nn.Module, *, dropout: bool, rules: LayerRules | None = None) -> Owners:
    """Find the module that each trainable parameter's gradient is read off.

    Args:
        module: the whole model.
        dropout: whether active dropout is allowed.
        rules: layer rules of the user, by exact class.

    Returns:
        The owners.
    """
    modules = dict(module.named_modules(remove_duplicate=False))
    for path, child in modules.items():
        _refuse_batch_statistics(path, child)
        if not dropout:
            _refuse_dropout(path, child)
    named = [
        (f"{path}.{name}" if path else name, p)
        for path, child in modules.items()
        for name, p in child._parameters.items()
        if p is not None and p.requires_grad
    ]
    owned, names = _assigned(modules, named, PLACES.get(module, {}))
    blocks = parameter_blocks(module, "module")
    counts = Counter(p for parameters in owned.values() for p in set(parameters.values()))
    return Owners(
        module,
        owned,
        names,
        blocks,
        block_of={p: number for number, block in enumerate(blocks) for p in block.parameters},
        single=frozenset(p for p, count in counts.items() if count == 1),
        parameter_names={p: path for path, p in reversed(named)},
        idle=_IDLE.setdefault(module, set()),
        rules=rules or {},
    )


def _assigned(
    modules: Mapping[str, nn.Module], named: list[tuple[str, nn.Parameter]], places: Mapping[str, str]
) -> tuple[dict[nn.Module, dict[str, nn.Parameter]], dict[nn.Module, str]]:
    """For each owner its parameters by name, and its first path."""
    moved: dict[nn.Parameter, list[str]] = {}
    for path, p in named:
        if path in places:
            moved.setdefault(p, []).append(places[path])
    owned: dict[nn.Module, dict[str, nn.Parameter]] = {}
    names: dict[nn.Module, str] = {}
    assigned: set[tuple[nn.Module, nn.Parameter]] = set()
    for path, p in named:
        place = places.get(path, owner_path(path))
        if any(is_inside(place, other) for other in moved.get(p, [])):
            continue  # a use within a call that the parameter is read off already
        owner = modules[place]
        if (owner, p) not in assigned:
            assigned.add((owner, p))
            owned.setdefault(owner, {})[path.removeprefix(f"{place}.") if place else path] = p
            names.setdefault(owner, place)
    return owned, names


def owner_path(path: str) -> str:
    """Return the path of the module that owns a parameter.

    Args:
        path: of the parameter.

    Returns:
        The part before its own name; an empty string for the model itself.
    """
    return path.rpartition(".")[0]


def is_inside(path: str, around: str) -> bool:
    """Return whether a module is inside another one.

    Args:
        path: of the one.
        around: of the other.

    Returns:
        True if it is; no module is inside itself.
    """
    return path != around and (not around or path.startswith(f"{around}."))


def is_active_dropout(module: nn.Module) -> bool:
    """Return whether a module is a dropout layer that is active.

    Args:
        module: one module.

    Returns:
        True if it drops anything.
    """
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0


def _refuse_dropout(path: str, module: nn.Module) -> None:
    if is_active_dropout(module):
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
