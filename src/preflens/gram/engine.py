"""Entry points for gradient geometry: exact Grams from one forward and one activation-only backward pass."""

from collections.abc import Sequence

from torch import Tensor, nn

from preflens.gram.blocks import Breakdown
from preflens.gram.capture.forward import Forward
from preflens.gram.products.modes import BatchMode, PairMode
from preflens.gram.readers.multi_pass import gram_over_passes
from preflens.gram.readers.owners import Owners
from preflens.gram.readers.placement import settled_pass, with_settled_owners
from preflens.gram.readers.single_pass import GramAccumulator
from preflens.gram.rules import LayerRules
from preflens.types import BatchGram, PairGram


def pair_gram(
    module: nn.Module,
    forward: Forward,
    *,
    by: Breakdown | None = None,
    dropout: bool = False,
    check: bool = True,
    rules: LayerRules | None = None,
) -> PairGram:
    """Compute the 2×2 gradient Gram of each pair exactly, for less than the cost of a training step.

    The same numbers as `brute_force_pair_gram`, without per-response gradients: the backward pass stops at activations,
    and ‖∇a_w‖², ‖∇a_l‖² and ⟨∇a_w, ∇a_l⟩ are computed from layer inputs and output gradients.

    Args:
        module: its parameters with `requires_grad` are differentiated. It is left unchanged.
        forward: runs the module and returns one number per response, chosen responses first; or a `HeadInput`, from
            which log-probs are computed without the scores of the prompt's tokens.
        by: `layer` or `module` for a leading block axis; blocks add up to the whole.
        dropout: allow active dropout; the result is then that of one draw.
        check: audit the first result for this module and these parameters against autograd.
        rules: layer rules of your own, by exact class of the layer. They have precedence over `LAYER_RULES`. A layer
            without a rule is differentiated response by response: exact, and slower.

    Returns:
        The Gram of each pair, in float64; squared nats per squared parameter unit.

    Raises:
        InputError: nothing is trainable, dropout is active, or `forward` returns another number of responses.
        UnsupportedModelError: responses have no gradients of their own in a module, or one cannot be read off.
        AuditError: a result differs from autograd's, for example because a rule in `rules` is wrong.

    Note:
        Responses must not influence each other, and every module must get one row per response, in the order of the
        responses (or flattened rows in that order). Violations are refused by name, or fail the audit.

    Example:
        The gradients of the two responses are their inputs, (1, 0) and (3, 4):

        >>> import torch
        >>> from preflens.gram import pair_gram
        >>> linear, x = torch.nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 0.0], [3.0, 4.0]])
        >>> gram = pair_gram(linear, lambda: linear(x).squeeze(1))
        >>> gram.chosen_sq_norm.item(), gram.rejected_sq_norm.item(), gram.inner_product.item()
        (1.0, 25.0, 3.0)

        A rule for a layer of your own, y = x ∘ w, whose gradient is Σ_t x_t ∘ d_t over the rows of a response:

        >>> from preflens.gram import LayerGradients, Materialized
        >>> class Gain(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.w = torch.nn.Parameter(torch.ones(2))
        ...     def forward(self, x):
        ...         return x * self.w
        >>> def gain_rule(call, context):
        ...     products = call.args[0] * call.gradients[0]
        ...     rows = products.reshape(context.responses, -1, products.shape[-1])
        ...     return [LayerGradients(("w",), Materialized(rows.sum(1)))]
        >>> gain = Gain()
        >>> pair_gram(gain, lambda: gain(x).sum(1), rules={Gain: gain_rule}).inner_product.item()
        3.0
    """

    def make(owners: Owners) -> GramAccumulator:
        return GramAccumulator(owners, PairMode, equal_inputs=not dropout)

    result = settled_pass(module, forward, make, _itself, dropout=dropout, check=check, rules=rules)
    products, names = result.owners.grouped(result.products, by, shape=(3, len(result.logps) // 2))
    return PairGram.from_products(products, names)


def batch_gram(
    module: nn.Module,
    forward: Forward | Sequence[Forward],
    *,
    by: Breakdown | None = None,
    dropout: bool = False,
    check: bool = True,
    memory: float | None = None,
    rules: LayerRules | None = None,
) -> BatchGram:
    """Compute the Gram matrix of all responses of a batch exactly.

    The same numbers as `brute_force_batch_gram`. A batch in one pass is reduced module by module. Over several passes
    the factors of the gradients are kept, or the gradients themselves where they are smaller.

    Args:
        module: its parameters with `requires_grad` are differentiated. It is left unchanged.
        forward: as for `pair_gram`; or several such functions (micro-batches), whose pairs together form the batch.
        by: `layer` or `module` for a leading block axis; blocks add up to the whole.
        dropout: allow active dropout; the result is then that of one draw.
        check: audit the first result for this module and these parameters against autograd.
        memory: bytes that may be kept between passes, None for no limit. Where that is too little, the parameters are
            split into groups, and the passes are repeated for each.
        rules: layer rules of your own, as for `pair_gram`.

    Returns:
        The Gram and the numbers that were differentiated, in float64; chosen responses of all micro-batches first.

    Raises:
        InputError: as `pair_gram`.
        UnsupportedModelError: as `pair_gram`.
        AuditError: as `pair_gram`.

    Example:
        >>> import torch
        >>> from preflens.gram import batch_gram
        >>> linear, x = torch.nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 0.0], [3.0, 4.0]])
        >>> batch_gram(linear, lambda: linear(x).squeeze(1)).matrix.tolist()
        [[1.0, 3.0], [3.0, 25.0]]
    """
    forwards = [forward] if callable(forward) else list(forward)

    def make(owners: Owners) -> GramAccumulator:
        return GramAccumulator(owners, BatchMode, equal_inputs=not dropout)

    def run(owners: Owners) -> tuple[Owners, tuple[list[Tensor | None], Tensor]]:
        return owners, gram_over_passes(owners, forwards, equal_inputs=not dropout, memory=memory)

    if len(forwards) == 1:
        result = settled_pass(module, forwards[0], make, _itself, dropout=dropout, check=check, rules=rules)
        owners, blocks, logps = result.owners, result.products, result.logps
    else:
        owners, (blocks, logps) = with_settled_owners(module, forwards, run, dropout=dropout, check=check, rules=rules)
    matrix, names = owners.grouped(blocks, by, shape=(len(logps), len(logps)))
    return BatchGram(matrix, logps.cpu(), names)


def _itself(accumulator: GramAccumulator) -> GramAccumulator:
    return accumulator
