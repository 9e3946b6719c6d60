"""The first pass over a model: where each parameter's gradient is read off is settled, and audited.

A parameter belongs to a module, and mostly the calls of that module say all about it. Where they do not (its module is
never called, its rows are in another order than the responses, it cannot be called again by itself), the next module
around it that is called takes its place; that one is then differentiated response by response, exactly and slowly.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

from preflens.errors import UnreadableGradientError, UnsupportedModelError
from preflens.gram.capture.forward import Forward
from preflens.gram.capture.plain_forward import called_modules
from preflens.gram.products.modes import PairMode
from preflens.gram.readers.audit import audit, audited
from preflens.gram.readers.backward import run_pass
from preflens.gram.readers.base import GradientConsumer
from preflens.gram.readers.owners import PLACES, Owners, find_owners, is_inside, owner_path
from preflens.gram.readers.single_pass import GramAccumulator

LOGGER = logging.getLogger("preflens")

R = TypeVar("R", bound=GradientConsumer)
T = TypeVar("T")


def settled_pass(
    module: nn.Module,
    forward: Forward,
    make: Callable[[Owners], R],
    streamed_of: Callable[[R], GramAccumulator],
    *,
    dropout: bool,
    check: bool,
) -> R:
    """Run a pass; the first time with a model and these parameters, until every gradient can be read off somewhere.

    Args:
        module: the model.
        forward: the pass.
        make: makes a reader.
        streamed_of: gives the part of a reader that is audited.
        dropout: whether a dropout that drops is welcome.
        check: audit the first answer.

    Returns:
        The reader, after the pass.

    Raises:
        UnreadableGradientError: without audits, a gradient cannot be read off.
    """
    owners = find_owners(module, dropout=dropout)
    if not check or audited(module, owners, forward):
        reader = make(owners)
        try:
            run_pass(owners, forward, reader)
            return reader
        except UnreadableGradientError:
            if not check:
                raise
    called: set[nn.Module] | None = None
    with _places_kept_if_it_works_out(module):
        first: UnsupportedModelError | None = None
        while True:
            found = _attempt(module, forward, make(owners), streamed_of, owners)
            if not isinstance(found, UnreadableGradientError):
                if called is not None:
                    _say_what_is_slow(module, owners)
                return found
            if not found.again:
                first = first or UnsupportedModelError(f"{found} {_without(found, owners)}")
                called = called_modules(module, forward) if called is None else called
                if not _moved_out(module, owners, found, called):
                    raise first
            owners = find_owners(module, dropout=dropout)


def with_settled_owners(
    module: nn.Module,
    forwards: Sequence[Forward],
    run: Callable[[Owners], T],
    *,
    dropout: bool,
    check: bool,
) -> T:
    """Run passes of one's own with owners that are settled.

    Args:
        module: the model.
        forwards: the passes.
        run: runs them; once more where one of them asks for other places than the first.
        dropout: whether a dropout that drops is welcome.
        check: audit the first answer.

    Returns:
        What `run` returns.
    """

    def settle(forward: Forward) -> Owners:
        def make(owners: Owners) -> GramAccumulator:
            return GramAccumulator(owners, PairMode, equal_inputs=not dropout)

        return settled_pass(module, forward, make, lambda found: found, dropout=dropout, check=True).owners

    owners = find_owners(module, dropout=dropout)
    if not check:
        return run(owners)
    if not audited(module, owners, forwards[0]):
        owners = settle(forwards[0])
    try:
        return run(owners)
    except UnreadableGradientError:
        for forward in forwards:
            settle(forward)
    return run(find_owners(module, dropout=dropout))


def _attempt(
    module: nn.Module, forward: Forward, reader: R, streamed_of: Callable[[R], GramAccumulator], owners: Owners
) -> R | UnreadableGradientError:
    try:
        seen = run_pass(owners, forward, reader, strict=False)
        audit(module, owners, forward, streamed_of(reader), seen)
    except UnreadableGradientError as error:
        return error.with_traceback(None)  # its frames hold the pass
    return reader


@contextmanager
def _places_kept_if_it_works_out(module: nn.Module) -> Iterator[None]:
    before = PLACES.get(module)
    try:
        yield
    except BaseException:
        if before is None:
            PLACES.pop(module, None)
        else:
            PLACES[module] = before
        raise


def _moved_out(
    module: nn.Module, owners: Owners, failure: UnreadableGradientError, called: Collection[nn.Module]
) -> bool:
    """Let gradients be read off the next module around, for the same parameters of other layers too.

    Returns:
        False where there is no such module.
    """
    paths = {path: m for path, m in module.named_modules(remove_duplicate=False) if m in called}
    named = {path: p for path, p in module.named_parameters(remove_duplicate=False) if p.requires_grad}
    places = PLACES.get(module, {})
    here = {path: places.get(path, owner_path(path)) for path in named}
    failing, somewhere = _failing(failure, owners), failure.module is None
    moves: dict[str, str] = {}
    for path, p in named.items():
        if p in failing and (somewhere or paths.get(here[path]) is failure.module):
            around = next((a for a in _around(here[path]) if a in paths), None)
            moves |= {} if around is None else {path: around}
    if not moves:
        return False
    moves = _alike(moves, here, paths) | moves
    if failure.mixed:
        for around in set(moves.values()):
            moves |= {path: around for path, place in here.items() if is_inside(place, around)}
    PLACES[module] = places | moves
    return True


def _alike(moves: Mapping[str, str], here: Mapping[str, str], called: Collection[str]) -> dict[str, str]:
    """The same moves in other layers, and of other experts."""
    depths = {(_pattern(path), _pattern(here[path])): len(_parts(around)) for path, around in moves.items()}
    found = {}
    for path, place in here.items():
        depth = depths.get((_pattern(path), _pattern(place)))
        around = ".".join(path.split(".")[:depth])
        if depth is not None and around in called:
            found[path] = around
    return found


def _say_what_is_slow(module: nn.Module, owners: Owners) -> None:
    places = PLACES[module]
    path, around = next(iter(places.items()))
    LOGGER.warning(
        "The gradients of %d of %d parameter tensors are found response by response, by calling a module around them "
        "again (`%s`: %s): exact, and slower.",
        len(places), len(owners.block_of), path, f"`{around}`" if around else "the whole model",
    )  # fmt: skip


def _failing(failure: UnreadableGradientError, owners: Owners) -> set[nn.Parameter]:
    """The parameters whose gradients could not be read off."""
    if isinstance(failure.module, nn.Module):
        return set(owners.parameters[failure.module].values())
    return {p for p in failure.parameters if isinstance(p, nn.Parameter)}


def _without(failure: UnreadableGradientError, owners: Owners) -> str:
    """How to choose parameters without those that failed."""
    names = {_pattern(owners.parameter_names[p]).rpartition("*.")[2] for p in _failing(failure, owners)}
    expression = "|".join(re.escape(name) for name in sorted(names))
    return f"In the analyses, `parameters` (`--parameters`) chooses all others by '^(?!.*({expression})$)'."


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
