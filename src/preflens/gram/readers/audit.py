"""Three audits: is every trainable parameter accounted for, are the numbers those of autograd, is it the same model?

A gradient inner product that silently skips a parameter is the worst mistake of this field, and classes lie about what
they compute. So before the first answer for a model, the first pair is differentiated by autograd: with respect to the
parameters that no tap has claimed, which must come out as unused, and with respect to one module of each class, whose
products must agree. And a plain forward pass without gradients must give the log-probs that were differentiated.
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
# And of the whole gradient's norms: a bias before a softmax has no gradient but rounding, which agrees with nothing.
_ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-6}
_ROUNDING_HALF = 1e-3

# How far log-probs of a pass without gradients may be from those that were differentiated, for each nat of 1 + |a|: the
# same kernels compute both.
_PLAIN = {torch.float64: 1e-6, torch.float32: 1e-4}
_PLAIN_HALF = 2e-2

_AUDITED: WeakKeyDictionary[nn.Module, set[object]] = WeakKeyDictionary()


def audited(module: nn.Module, owners: Owners, forward: Forward) -> bool:
    """Tell whether a model has passed its audits with these parameters and this way of calling it.

    Args:
        module: the model.
        owners: of the parameters that are differentiated.
        forward: the pass.

    Returns:
        Whether it has.
    """
    return _key(owners, forward) in _AUDITED.get(module, set())


def audit(module: nn.Module, owners: Owners, forward: Forward, found: GramAccumulator, seen: PassReport) -> None:
    """Compare what a pass found with autograd, on its first pair, and its log-probs with those of a plain pass.

    Costs three forward passes and two backward passes, once for a model and a choice of parameters.

    Args:
        module: the model.
        owners: of the parameters that are differentiated.
        forward: the pass.
        found: what the engine read off it.
        seen: what was called and reached in it.
    """
    checked = _one_block_a_class(owners, found)
    blocks = [owners.blocks[number] for number in checked]
    unclaimed = [p for p in owners.block_of if p not in found.covered]
    wanted = {p for block in blocks for p in block.parameters} | set(unclaimed)
    with frozen(p for p in owners.block_of if p not in wanted), same_random_state():
        values = values_of(forward)
        pair = [values[row] for row in (0, len(values) // 2)]
        _check_unused(owners, unclaimed, [differentiate(value, unclaimed) for value in pair], seen)
        rows = [gradient(value, blocks) for value in pair]
    _check_reached(owners, forward, found, seen)
    expected = products(rows) if blocks else torch.zeros(0, 2, 2)
    ours = [found.first_pair(number).cpu() for number in checked]
    there = [number for number, p in enumerate(found.products) if p is not None]
    whole = torch.stack([found.first_pair(number).cpu() for number in there]).sum(0) if there else torch.zeros(2, 2)
    # Under autocast log-probs are float32 and what leads to them is not.
    dtype = torch.bfloat16 if torch.is_autocast_enabled(values.device.type) else values.dtype
    rounding = _norms(whole) * _ROUNDING.get(dtype, _ROUNDING_HALF)
    for block, mine, true in zip(blocks, ours, expected, strict=True):
        allowed = _norms(true) * _TOLERANCE.get(dtype, _TOLERANCE_HALF) + rounding
        _compare(block, mine, true, allowed)
    check_plain(found.logps, forward, tolerance=_PLAIN.get(dtype, _PLAIN_HALF))
    _AUDITED.setdefault(module, set()).add(_key(owners, forward))


def _check_reached(owners: Owners, forward: Forward, found: GramAccumulator, seen: PassReport) -> None:
    """Refuse what no gradient reaches: no tap saw one come, or autograd knows no way although a tap did.

    A tap sits behind a module's output. What the module itself cuts off is only seen in the graph.
    """
    leaves = leaves_of_pass(forward)
    cut_off = set() if leaves is None else found.covered - leaves
    replace(seen, unreached=seen.unreached | cut_off).check(found.covered - cut_off, owners, forward)


def _key(owners: Owners, forward: Forward) -> object:
    """Which parameters, and which code: closures over other batches are the same code."""
    function = forward
    while isinstance(function, partial):
        function = function.func
    return frozenset(map(id, owners.block_of)), getattr(function, "__code__", function)


def _one_block_a_class(owners: Owners, found: GramAccumulator) -> list[int]:
    """The first block of each class of modules: whatever mixes responses above it is seen there."""
    first: dict[type[nn.Module], int] = {}
    for module, own in owners.parameters.items():
        for p in own.values():
            if found.products[owners.block_of[p]] is not None:
                first.setdefault(type(module), owners.block_of[p])
    return sorted(set(first.values()))


def _check_unused(
    owners: Owners, unclaimed: Sequence[nn.Parameter], gradients: Sequence[list[Tensor | None]], seen: PassReport
) -> None:
    """A gradient of zero will do only where the parameter's module was called and so says so itself."""
    called = {p for m in seen.called if m in owners.parameters for p in owners.parameters[m].values()}
    used = {
        p: None
        for row in gradients
        for p, found in zip(unclaimed, row, strict=True)
        if found is not None and (p not in called or bool(found.any()))
    }
    if used:
        raise UnreadableGradientError(
            f"Parameter `{owners.parameter_names[next(iter(used))]}` influences the log-probs, but not through a call "
            "of the module that owns it or of one around it, so its gradient cannot be read off there. Freeze it, or "
            "use `brute_force_pair_gram` / `brute_force_batch_gram`.",
            parameters=list(used),
        )


def _norms(products: Float64[Tensor, "2 2"]) -> Float64[Tensor, "2 2"]:
    norms = products.diagonal().clamp(min=0).sqrt()
    return norms[:, None] * norms[None]


def _compare(
    block: Block, ours: Float64[Tensor, "2 2"], true: Float64[Tensor, "2 2"], allowed: Float64[Tensor, "2 2"]
) -> None:
    if bool(((ours - true).abs() <= allowed).all()):
        return
    worst = float(((ours - true).abs() / _norms(true).clamp(min=1e-300)).max())
    raise AuditError(
        f"The gradient products of `{block.name}` differ from autograd's by {worst:.2g} of the product of norms. Its "
        "module does not compute what its class promises, or its responses influence each other. Freeze its "
        "parameters, or use `brute_force_pair_gram` / `brute_force_batch_gram`."
    )
