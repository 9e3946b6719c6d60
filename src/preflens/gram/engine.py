"""The entry points for gradient geometry."""

from collections.abc import Sequence

from torch import nn

from preflens.gram.blocks import Breakdown
from preflens.gram.exact import Forward, exact_batch_gram, exact_pair_gram
from preflens.types import BatchGram, PairGram


def pair_gram(module: nn.Module, forward: Forward, *, by: Breakdown | None = None) -> PairGram:
    """Compute the 2×2 gradient Gram of each pair: the same as `exact_pair_gram`.

    Args:
        module: whose parameters with `requires_grad` are differentiated; `param.grad` is not touched.
        forward: runs the module and returns one number per response, the chosen responses first.
        by: `layer` or `module` for a leading block axis; blocks add up to the whole.

    Returns:
        The geometry of each pair, in float64.
    """
    return exact_pair_gram(module, forward, by=by)


def batch_gram(module: nn.Module, forward: Forward | Sequence[Forward], *, by: Breakdown | None = None) -> BatchGram:
    """Compute the Gram matrix of all responses of a batch: the same as `exact_batch_gram`.

    Args:
        module: whose parameters with `requires_grad` are differentiated; `param.grad` is not touched.
        forward: runs the module and returns one number per response, the chosen responses first; or several such
            functions (micro-batches), whose pairs together form the batch.
        by: `layer` or `module` for a leading block axis; blocks add up to the whole.

    Returns:
        The Gram, chosen responses first, and the numbers that were differentiated, in float64.
    """
    return exact_batch_gram(module, forward, by=by)
