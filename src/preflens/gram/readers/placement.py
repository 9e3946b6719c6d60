"""Run the first pass over a model: settle which module each gradient is read off, and audit the result.

A parameter belongs to a module, and in most cases the calls of that module give its gradient. Where they do not (the
module is never called, its rows are in another order than the responses, it cannot be called again by itself), the next
module around it that is called takes its place. That one is differentiated response by response, exactly and slowly.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
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
from preflens.gram.readers.owner_search import PLACES, find_owners
from preflens.gram.readers.owners import Owners
from preflens.gram.readers.relocation import expression_without, relocate
from preflens.gram.readers.single_pass import GramAccumulator
from preflens.gram.rules import LayerRules

LOGGER = logging.getLogger("preflens")

R = TypeVar("R", bound=GradientConsumer)
T = TypeVar("T")


def settled_pass(
    module: nn.Module,
    forward: Forward,
    make: Callable[[Owners], R],
    accumulator_of: Callable[[R], GramAccumulator],
    *,
    dropout: bool,
    check: bool,
    rules: LayerRules | None = None,
) -> R:
    """Run a pass. The first time with a model and these parameters, repeat it until every gradient can be read off.

    Args:
        module: the model.
        forward: the pass.
        make: creates a consumer of the gradients.
        accumulator_of: returns the part of a consumer that is audited.
        dropout: whether active dropout is allowed.
        check: audit the first result.
        rules: layer rules of the user, by exact class.

    Returns:
        The consumer, after the pass.

    Raises:
        UnreadableGradientError: without audits, a gradient cannot be read off.
    """
    owners = find_owners(module, dropout=dropout, rules=rules)
    if not check or audited(module, owners, forward):
        consumer = make(owners)
        try:
            run_pass(owners, forward, consumer)
            return consumer
        except UnreadableGradientError:
            if not check:
                raise
    called: set[nn.Module] | None = None
    with _places_restored_on_failure(module):
        first: UnsupportedModelError | None = None
        while True:
            result = _attempt(module, forward, owners, make(owners), accumulator_of=accumulator_of)
            if not isinstance(result, UnreadableGradientError):
                if called is not None:
                    _warn_of_slow_modules(module, owners)
                return result
            if not result.again:
                first = first or UnsupportedModelError(f"{result} {expression_without(result, owners)}")
                called = called_modules(module, forward) if called is None else called
                if not relocate(module, owners, result, called):
                    raise first
            owners = find_owners(module, dropout=dropout, rules=rules)


def with_settled_owners(
    module: nn.Module,
    forwards: Sequence[Forward],
    run: Callable[[Owners], T],
    *,
    dropout: bool,
    check: bool,
    rules: LayerRules | None = None,
) -> T:
    """Run several passes with settled owners.

    Args:
        module: the model.
        forwards: the passes.
        run: runs them; called again where a later pass needs other owners than the first.
        dropout: whether active dropout is allowed.
        check: audit the first result.
        rules: layer rules of the user, by exact class.

    Returns:
        What `run` returns.
    """

    def settle(forward: Forward) -> Owners:
        def make(owners: Owners) -> GramAccumulator:
            return GramAccumulator(owners, PairMode, equal_inputs=not dropout)

        settled = settled_pass(module, forward, make, lambda same: same, dropout=dropout, check=True, rules=rules)
        return settled.owners

    owners = find_owners(module, dropout=dropout, rules=rules)
    if not check:
        return run(owners)
    if not audited(module, owners, forwards[0]):
        owners = settle(forwards[0])
    try:
        return run(owners)
    except UnreadableGradientError:
        for forward in forwards:
            settle(forward)
    return run(find_owners(module, dropout=dropout, rules=rules))


def _attempt(
    module: nn.Module, forward: Forward, owners: Owners, consumer: R, *, accumulator_of: Callable[[R], GramAccumulator]
) -> R | UnreadableGradientError:
    try:
        report = run_pass(owners, forward, consumer, strict=False)
        audit(module, owners, forward, accumulator=accumulator_of(consumer), report=report)
    except UnreadableGradientError as error:
        return error.with_traceback(None)  # its frames hold the pass
    return consumer


@contextmanager
def _places_restored_on_failure(module: nn.Module) -> Iterator[None]:
    before = PLACES.get(module)
    try:
        yield
    except BaseException:
        if before is None:
            PLACES.pop(module, None)
        else:
            PLACES[module] = before
        raise


def _warn_of_slow_modules(module: nn.Module, owners: Owners) -> None:
    places = PLACES[module]
    path, around = next(iter(places.items()))
    LOGGER.warning(
        "The gradients of %d of %d parameter tensors are found response by response, by calling a module around them "
        "again (`%s`: %s): exact, and slower.",
        len(places), len(owners.block_of), path, f"`{around}`" if around else "the whole model",
    )  # fmt: skip
