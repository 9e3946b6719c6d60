"""Read gradients off the next module around their owner, where the calls of the owner do not give them."""

import re
from collections.abc import Collection, Iterator, Mapping

from torch import nn

from preflens.errors import UnreadableGradientError
from preflens.gram.readers.owner_search import PLACES, is_inside, owner_path
from preflens.gram.readers.owners import Owners


def relocate(
    module: nn.Module, owners: Owners, failure: UnreadableGradientError, called: Collection[nn.Module]
) -> bool:
    """Choose the next module around for parameters that failed, and for the same parameters of other layers.

    Args:
        module: the model.
        owners: with which the pass failed.
        failure: names the module or the parameters.
        called: modules that the pass calls.

    Returns:
        False where there is no such module.
    """
    paths = {path: m for path, m in module.named_modules(remove_duplicate=False) if m in called}
    named = {path: p for path, p in module.named_parameters(remove_duplicate=False) if p.requires_grad}
    places = PLACES.get(module, {})
    present = {path: places.get(path, owner_path(path)) for path in named}
    failing, anywhere = _failing(failure, owners), failure.module is None
    moves: dict[str, str] = {}
    for path, p in named.items():
        if p in failing and (anywhere or paths.get(present[path]) is failure.module):
            around = next((a for a in _around(present[path]) if a in paths), None)
            moves |= {} if around is None else {path: around}
    if not moves:
        return False
    moves = _in_other_layers(moves, present, paths) | moves
    if failure.mixed:
        for around in set(moves.values()):
            moves |= {path: around for path, place in present.items() if is_inside(place, around)}
    PLACES[module] = places | moves
    return True


def expression_without(failure: UnreadableGradientError, owners: Owners) -> str:
    """Return a sentence with the regular expression that selects all parameters but those that failed.

    Args:
        failure: names the module or the parameters.
        owners: of the parameters.

    Returns:
        The sentence.
    """
    names = {_pattern(owners.parameter_names[p]).rpartition("*.")[2] for p in _failing(failure, owners)}
    expression = "|".join(re.escape(name) for name in sorted(names))
    return f"In the analyses, `trainable` (`--parameters`) chooses all others by '^(?!.*({expression})$)'."


def _in_other_layers(moves: Mapping[str, str], present: Mapping[str, str], called: Collection[str]) -> dict[str, str]:
    """The same moves in other layers, and of other experts."""
    depths = {(_pattern(path), _pattern(present[path])): len(_parts(around)) for path, around in moves.items()}
    more = {}
    for path, place in present.items():
        depth = depths.get((_pattern(path), _pattern(place)))
        around = ".".join(path.split(".")[:depth])
        if depth is not None and around in called:
            more[path] = around
    return more


def _failing(failure: UnreadableGradientError, owners: Owners) -> set[nn.Parameter]:
    """The parameters whose gradients could not be read off."""
    if isinstance(failure.module, nn.Module):
        return set(owners.parameters[failure.module].values())
    return {p for p in failure.parameters if isinstance(p, nn.Parameter)}


def _around(place: str) -> Iterator[str]:
    """Paths of the modules around one, from the inside out."""
    while place:
        place = owner_path(place)
        yield place


def _parts(path: str) -> list[str]:
    return path.split(".") if path else []


def _pattern(path: str) -> str:
    """The path without the numbers of layers and experts."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", path)
