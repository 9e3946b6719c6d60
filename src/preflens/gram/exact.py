"""The brute-force reference: every response's gradient, one backward pass each, and their inner products in float64.

Slow and plainly right. The fast engine is tested against it, and users can check their own models with it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.gram.blocks import Block, Breakdown, block_names, parameter_blocks
from preflens.gram.differentiate import differentiate
from preflens.gram.outcome import Forward, check_outcome
from preflens.gram.softmax_rows import head_logps
from preflens.types import BatchGram, HeadInput, PairGram

# Gradients are widened to float64 in pieces of this many numbers: float32 sums over whole gradients are off by
# percents on CPU (2.7 % of a squared norm at 124 million parameters), and widening everything at once doubles memory.
_PIECE = 1 << 16


def exact_pair_gram(module: nn.Module, forward: Forward, *, by: Breakdown | None = None) -> PairGram:
    """Compute the 2×2 gradient Gram of each pair, from full gradients.

    For pair i: ‖∇a_i‖², ‖∇a_{i+pair}‖² and ⟨∇a_i, ∇a_{i+pair}⟩, with a the numbers `forward` returns and ∇ over the
    trainable parameters of `module`. Two gradients are held at a time.

    Args:
        module: whose parameters with `requires_grad` are differentiated; `param.grad` is not touched.
        forward: runs the module and returns one number per response, the chosen responses first; or a `HeadInput`.
        by: `layer` or `module` for a leading block axis; blocks add up to the whole.

    Returns:
        The geometry of each pair, in float64.

    Raises:
        InputError: nothing is trainable, or `forward` does not return chosen and rejected rows.

    Example:
        >>> import torch
        >>> linear = torch.nn.Linear(2, 1, bias=False)
        >>> gram = exact_pair_gram(linear, lambda: linear(torch.tensor([[1.0, 0.0], [3.0, 4.0]])).squeeze(1))
        >>> gram.rejected_sq_norm.item(), gram.inner_product.item()
        (25.0, 3.0)
    """
    blocks = parameter_blocks(module, by)
    values = values_of(forward)
    pairs = len(values) // 2
    columns = [products([gradient(values[i], blocks), gradient(values[i + pairs], blocks)]) for i in range(pairs)]
    entries = torch.stack(columns, dim=-1)  # [block, 2, 2, pair]
    if by is None:
        entries = entries[0]
    ww, ll, wl = entries[..., 0, 0, :], entries[..., 1, 1, :], entries[..., 0, 1, :]
    return PairGram(ww, ll, wl, blocks=block_names(blocks, by))


def exact_batch_gram(
    module: nn.Module, forward: Forward | Sequence[Forward], *, by: Breakdown | None = None
) -> BatchGram:
    """Compute the Gram matrix of all responses of a batch, from full gradients.

    G_ij = ⟨∇a_i, ∇a_j⟩ for every two responses, the diagonal blocks being `exact_pair_gram`. All gradients are held at
    once: memory is responses × trainable parameters.

    Args:
        module: whose parameters with `requires_grad` are differentiated; `param.grad` is not touched.
        forward: runs the module and returns one number per response, the chosen responses first; or several such
            functions (micro-batches), whose pairs together form the batch.
        by: `layer` or `module` for a leading block axis; blocks add up to the whole.

    Returns:
        The Gram, chosen responses of all micro-batches first, and the numbers that were differentiated, in float64.

    Raises:
        InputError: nothing is trainable, or a `forward` does not return chosen and rejected rows.
    """
    blocks = parameter_blocks(module, by)
    chosen, rejected, logps = [], [], []
    for run in [forward] if callable(forward) else forward:
        values = values_of(run)
        gradients = [gradient(value, blocks) for value in values]
        chosen += gradients[: len(values) // 2]
        rejected += gradients[len(values) // 2 :]
        logps.append(values.detach().double().cpu().reshape(2, -1))
    matrix = products(chosen + rejected)
    return BatchGram(
        matrix if by is not None else matrix[0], torch.cat(logps, dim=1).flatten(), blocks=block_names(blocks, by)
    )


def values_of(forward: Forward) -> Float[Tensor, " response"]:
    """Run a forward pass and return its log-probs with their graph.

    Args:
        forward: returns log-probs or the input of a head.

    Returns:
        The log-probs.
    """
    with torch.enable_grad():
        outcome = forward()
        check_outcome(outcome)
        return head_logps(outcome) if isinstance(outcome, HeadInput) else outcome


def gradient(value: Float[Tensor, ""], blocks: Sequence[Block]) -> list[list[Tensor]]:
    """Differentiate one number.

    Args:
        value: the number; its graph stays.
        blocks: of the parameters.

    Returns:
        The gradient, per block and parameter; zero for a parameter that is not used.
    """
    parameters = [p for block in blocks for p in block.parameters]
    found = zip(differentiate(value, parameters), parameters, strict=True)
    flat = iter([torch.zeros_like(p) if g is None else g for g, p in found])
    return [[next(flat) for _ in block.parameters] for block in blocks]


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
