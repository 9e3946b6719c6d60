"""Three audits of the first result for a model: coverage, agreement with autograd, and unchanged log-probs.

A gradient product that silently skips a parameter is the worst possible error here, and a subclass may override
`forward`, so a module's class does not guarantee what it computes. Before the first result for a model is returned, its
first pair is differentiated by autograd: with respect to parameters that no tap has covered, which must be unused, and
with respect to one module of each class, whose products must agree. A plain forward pass without gradients must give
the log-probs that were differentiated.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.errors import AuditError, UnreadableGradientError
from preflens.gram.blocks import Block
from preflens.gram.brute_force import gradient, leaves_of_pass, products, values_of
from preflens.gram.capture.autograd import differentiate
from preflens.gram.capture.forward import Forward
from preflens.gram.capture.plain_forward import check_plain
from preflens.gram.capture.restoring import frozen, same_random_state
from preflens.gram.readers.collector import PassReport
from preflens.gram.readers.owners import Owners
from preflens.gram.readers.single_pass import GramAccumulator

# How far products may be from autograd's, as a share of the product of the block's norms. Wide enough for the rounding
# of a type and of float32 islands in float64 models, narrow enough for a wrong formula, which is off by percents.
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 5e-3}
_TOLERANCE_HALF = 0.2
# And of the whole gradient's norms: the gradient of a bias before a softmax is nothing but rounding, which agrees with
# nothing.
_ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-6}
_ROUNDING_HALF = 1e-3

# How far log-probs of a pass without gradients may be from those that were differentiated, per nat of 1 + |a|: the
# same kernels compute both.
_PLAIN = {torch.float64: 1e-6, torch.float32: 1e-4}
_PLAIN_HALF = 2e-2

_AUDITED: WeakKeyDictionary[nn.Module, set[object]] = WeakKeyDictionary()


def audited(module: nn.Module, owners: Owners, forward: Forward) -> bool:
    """Return whether a model has passed its audits with these parameters, rules and code of the pass.

    Args:
        module: the model.
        owners: of the parameters that are differentiated.
        forward: the pass.

    Returns:
        True if it has.
    """
    return _key(owners, forward) in _AUDITED.get(module, set())


def audit(
    module: nn.Module, owners: Owners, forward: Forward, *, accumulator: GramAccumulator, report: PassReport
) -> None:
    """Compare the result of a pass with autograd, on its first pair, and its log-probs with those of a plain pass.

    Costs three forward passes and two backward passes, once per model and choice of parameters.

    Args:
        module: the model.
        owners: of the parameters that are differentiated.
        forward: the pass.
        accumulator: the products of the pass.
        report: modules that were called in it, and parameters that no gradient reached.
    """
    checked = _one_block_per_class(owners, accumulator)
    blocks = [owners.blocks[number] for number in checked]
    uncovered = [p for p in owners.block_of if p not in accumulator.covered]
    differentiated = {p for block in blocks for p in block.parameters} | set(uncovered)
    with frozen(p for p in owners.block_of if p not in differentiated), same_random_state():
        values = values_of(forward)
        pair = [values[row] for row in (0, len(values) // 2)]
        _check_unused(owners, uncovered, [differentiate(value, uncovered) for value in pair], report)
        rows = [gradient(value, blocks) for value in pair]
    _check_reached(owners, forward, accumulator, report)
    expected = products(rows) if blocks else torch.zeros(0, 2, 2)
    present = [number for number, p in enumerate(accumulator.products) if p is not None]
    total = sum((accumulator.first_pair(number).cpu() for number in present), torch.zeros(2, 2))
    # Under autocast log-probs are float32, and the activations that lead to them are not.
    dtype = torch.bfloat16 if torch.is_autocast_enabled(values.device.type) else values.dtype
    rounding = _norms(total) * _ROUNDING.get(dtype, _ROUNDING_HALF)
    for number, block, reference in zip(checked, blocks, expected, strict=True):
        allowed = _norms(reference) * _TOLERANCE.get(dtype, _TOLERANCE_HALF) + rounding
        _compare(block, accumulator.first_pair(number).cpu(), reference, allowed)
    check_plain(accumulator.logps, forward, tolerance=_PLAIN.get(dtype, _PLAIN_HALF))
    _AUDITED.setdefault(module, set()).add(_key(owners, forward))


def _check_reached(owners: Owners, forward: Forward, accumulator: GramAccumulator, report: PassReport) -> None:
    """Refuse parameters that no gradient reaches: no tap saw one, or autograd has no path although a tap did.

    A tap is behind a module's output. Where the module itself cuts the graph, only the graph shows it.
    """
    leaves = leaves_of_pass(forward)
    cut_off = set() if leaves is None else accumulator.covered - leaves
    extended = replace(report, unreached=report.unreached | cut_off)
    extended.check(accumulator.covered - cut_off, owners, forward)


def _key(owners: Owners, forward: Forward) -> object:
    """Which parameters, which rules, and which code: closures over other batches are the same code."""
    function = forward
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", function)
    return frozenset(map(id, owners.block_of)), frozenset(owners.rules.items()), code


def _one_block_per_class(owners: Owners, accumulator: GramAccumulator) -> list[int]:
    """The first block of each class of modules: a layer above it that mixes responses shows there."""
    first: dict[type[nn.Module], int] = {}
    for module, parameters in owners.parameters.items():
        for p in parameters.values():
            if accumulator.products[owners.block_of[p]] is not None:
                first.setdefault(type(module), owners.block_of[p])
    return sorted(set(first.values()))


def _check_unused(
    owners: Owners,
    uncovered: Sequence[nn.Parameter],
    gradients: Sequence[list[Tensor | None]],
    report: PassReport,
) -> None:
    """A gradient of zero is accepted only where the parameter's module was called, so that its rule gave zero."""
    called = {p for m in report.called if m in owners.parameters for p in owners.parameters[m].values()}
    used = {
        p: None
        for row in gradients
        for p, g in zip(uncovered, row, strict=True)
        if g is not None and (p not in called or bool(g.any()))
    }
    if used:
        raise UnreadableGradientError(
            f"Parameter `{owners.parameter_names[next(iter(used))]}` influences the log-probs, but not through a call "
            "of the module that owns it or of one around it, so its gradient cannot be read off there. Freeze it, or "
            "use `brute_force_pair_gram` / `brute_force_batch_gram`.",
            parameters=list(used),
        )


def _norms(gram: Float64[Tensor, "2 2"]) -> Float64[Tensor, "2 2"]:
    norms = gram.diagonal().clamp(min=0).sqrt()
    return norms[:, None] * norms[None]


def _compare(
    block: Block, gram: Float64[Tensor, "2 2"], reference: Float64[Tensor, "2 2"], allowed: Float64[Tensor, "2 2"]
) -> None:
    difference = (gram - reference).abs()
    if bool((difference <= allowed).all()):
        return
    worst = float((difference / _norms(reference).clamp(min=1e-300)).max())
    raise AuditError(
        f"The gradient products of `{block.name}` differ from autograd's by {worst:.2g} of the product of norms. Its "
        "module does not compute what its class or its layer rule promises, or its responses influence each other. "
        "Freeze its parameters, or use `brute_force_pair_gram` / `brute_force_batch_gram`."
    )
