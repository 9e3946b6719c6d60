"""Brute-force reference: one backward pass per response, and inner products of the full gradients in float64.

Slow and simple. The fast engine is tested against it, and users can check their own models with it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.gram.blocks import Block, Breakdown, block_names, parameter_blocks
from preflens.gram.capture.autograd import differentiate, is_reentrant, leaves_of
from preflens.gram.capture.forward import Forward, ForwardOutput
from preflens.gram.capture.plain_forward import running_modules
from preflens.gram.capture.restoring import same_random_state
from preflens.gram.capture.unreached import check_reached
from preflens.response_order import chosen_first
from preflens.types import BatchGram, PairGram

# Gradients are widened to float64 in pieces of this many numbers: float32 sums over whole gradients are off by
# percents on CPU (2.7 % of a squared norm at 124 million parameters), and widening everything at once doubles memory.
_PIECE = 1 << 16


def brute_force_pair_gram(module: nn.Module, forward: Forward, *, by: Breakdown | None = None) -> PairGram:
    """Compute the 2×2 gradient Gram of each pair from full gradients.

    For pair i: ‖∇a_i‖², ‖∇a_{i+pair}‖² and ⟨∇a_i, ∇a_{i+pair}⟩, with a the numbers that `forward` returns and ∇ over
    the trainable parameters of `module`. Two gradients are held at a time.

    Args:
        module: its parameters with `requires_grad` are differentiated; `param.grad` is not touched.
        forward: runs the module and returns one number per response, chosen responses first; or a `HeadInput`.
        by: `layer` or `module` for a leading block axis; blocks add up to the whole.

    Returns:
        The Gram of each pair, in float64; squared nats per squared parameter unit.

    Raises:
        InputError: nothing is trainable, or `forward` does not return chosen and rejected rows.

    Note:
        A parameter on which the log-probs depend although no gradient reaches it is refused by name.

    Example:
        >>> import torch
        >>> from preflens.gram import brute_force_pair_gram
        >>> linear, x = torch.nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 0.0], [3.0, 4.0]])
        >>> gram = brute_force_pair_gram(linear, lambda: linear(x).squeeze(1))
        >>> gram.rejected_sq_norm.item(), gram.inner_product.item()
        (25.0, 3.0)
    """
    blocks = parameter_blocks(module, by)
    with _refusing_unreached(module, forward) as reached:
        values = values_of(forward)
        pairs = len(values) // 2
        columns = [
            products([gradient(value, blocks, reached) for value in (values[i], values[i + pairs])])
            for i in range(pairs)
        ]
    entries = torch.stack(columns, dim=-1)  # [block, 2, 2, pair]
    if by is None:
        entries = entries[0]
    three = torch.stack([entries[..., 0, 0, :], entries[..., 1, 1, :], entries[..., 0, 1, :]], dim=-2)
    return PairGram.from_products(three, block_names(blocks, by))


def brute_force_batch_gram(
    module: nn.Module, forward: Forward | Sequence[Forward], *, by: Breakdown | None = None
) -> BatchGram:
    """Compute the Gram matrix of all responses of a batch from full gradients.

    G_ij = ⟨∇a_i, ∇a_j⟩ for every two responses; `brute_force_pair_gram` gives its diagonal blocks. All gradients are
    held at once: memory is responses × trainable parameters.

    Args:
        module: its parameters with `requires_grad` are differentiated; `param.grad` is not touched.
        forward: runs the module and returns one number per response, chosen responses first; or several such
            functions (micro-batches), whose pairs together form the batch.
        by: `layer` or `module` for a leading block axis; blocks add up to the whole.

    Returns:
        The Gram and the numbers that were differentiated, in float64; chosen responses of all micro-batches first.

    Raises:
        InputError: nothing is trainable, or a `forward` does not return chosen and rejected rows.

    Example:
        >>> import torch
        >>> from preflens.gram import brute_force_batch_gram
        >>> linear, x = torch.nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 0.0], [3.0, 4.0]])
        >>> brute_force_batch_gram(linear, lambda: linear(x).squeeze(1)).matrix.tolist()
        [[1.0, 3.0], [3.0, 25.0]]
    """
    blocks = parameter_blocks(module, by)
    gradients: list[list[list[Tensor]]] = []
    logps: list[Tensor] = []
    for run in [forward] if callable(forward) else forward:
        with _refusing_unreached(module, run) as reached:
            values = values_of(run)
            gradients += [gradient(value, blocks, reached) for value in values]
        logps.append(values.detach().double().cpu())
    order = chosen_first([len(values) for values in logps])
    matrix = products([gradients[i] for i in order.tolist()])
    return BatchGram(matrix if by is not None else matrix[0], torch.cat(logps)[order], block_names(blocks, by))


@contextmanager
def _refusing_unreached(module: nn.Module, forward: Forward) -> Iterator[set[nn.Parameter]]:
    """Refuse parameters that no gradient reaches though their module runs and the log-probs depend on them.

    Yields:
        A set, to which the caller adds the parameters that a gradient reached.
    """
    reached: set[nn.Parameter] = set()
    paths = {p: path for path, p in module.named_parameters() if p.requires_grad}
    with running_modules(module) as ran:
        yield reached
    silent = {p for m in ran for p in m.parameters(recurse=False) if p in paths} - reached
    check_reached(silent, paths, forward)


def values_of(forward: Forward) -> Float[Tensor, " response"]:
    """Run a forward pass and return its log-probs with their graph.

    Args:
        forward: returns log-probs or the input of a head.

    Returns:
        The log-probs, nats.
    """
    with torch.enable_grad():
        return ForwardOutput(forward()).logps()


def leaves_of_pass(forward: Forward) -> set[Tensor] | None:
    """Find the tensors that gradients of the log-probs would reach, without saving any activations.

    Args:
        forward: returns log-probs or the input of a head.

    Returns:
        The leaves of the graph; None where reentrant checkpoints hide them.
    """
    nothing = torch.empty(0)
    with same_random_state(), torch.autograd.graph.saved_tensors_hooks(lambda _: None, lambda _: nothing):
        values = values_of(forward)
    return None if is_reentrant(values) else leaves_of(values)


def gradient(
    value: Float[Tensor, ""], blocks: Sequence[Block], reached: set[nn.Parameter] | None = None
) -> list[list[Tensor]]:
    """Differentiate one number.

    Args:
        value: the number; its graph is retained.
        blocks: of the parameters.
        reached: the parameters that a gradient reached, even if it is zero, are added to it.

    Returns:
        The gradient, per block and parameter; zero for a parameter that is not used.
    """
    parameters = [p for block in blocks for p in block.parameters]
    gradients = list(zip(differentiate(value, parameters), parameters, strict=True))
    if reached is not None:
        reached.update(p for g, p in gradients if g is not None)
    filled = iter([torch.zeros_like(p) if g is None else g for g, p in gradients])
    return [[next(filled) for _ in block.parameters] for block in blocks]


def products(gradients: Sequence[list[list[Tensor]]]) -> Float64[Tensor, "block row row"]:
    """Multiply gradients with each other, block by block, widened to float64 piece by piece.

    Args:
        gradients: of each row, per block and parameter.

    Returns:
        Their inner products.
    """
    return torch.stack([_block_products(block) for block in zip(*gradients, strict=True)])


def _block_products(gradients: Sequence[list[Tensor]]) -> Float64[Tensor, "row row"]:
    total = torch.zeros(len(gradients), len(gradients), dtype=torch.float64)
    for rows in zip(*gradients, strict=True):
        flat = [g.reshape(-1) for g in rows]
        for start in range(0, flat[0].numel(), _PIECE):
            piece = torch.stack([f[start : start + _PIECE] for f in flat]).double()
            total += (piece @ piece.T).cpu()
    return total
