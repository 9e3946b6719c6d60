"""The entry points for gradient geometry: exact, from one forward and one activation-only backward pass."""

from collections.abc import Sequence

from torch import Tensor, nn

from preflens.gram.blocks import Breakdown
from preflens.gram.capture.forward import Forward
from preflens.gram.products.modes import BatchMode, Mode, PairMode
from preflens.gram.readers.multi_pass import gram_over_passes
from preflens.gram.readers.owners import Owners
from preflens.gram.readers.placement import settled_pass, with_settled_owners
from preflens.gram.readers.single_pass import GramAccumulator
from preflens.types import BatchGram, PairGram


def pair_gram(
    module: nn.Module, forward: Forward, *, by: Breakdown | None = None, dropout: bool = False, check: bool = True
) -> PairGram:
    """Compute the 2×2 gradient Gram of each pair, exactly, for less than a training step.

    The same numbers as `brute_force_pair_gram`, without per-response gradients: the backward pass stops at activations,
    and ‖∇a_w‖², ‖∇a_l‖² and ⟨∇a_w, ∇a_l⟩ are read off layer inputs and output gradients.

    Args:
        module: whose parameters with `requires_grad` are differentiated; left as it was found.
        forward: runs the module and returns one number per response, the chosen responses first; or a `HeadInput`, from
            which the log-probs are computed without the scores of the prompt's tokens.
        by: `layer` or `module` for a leading block axis; blocks add up to the whole.
        dropout: allow active dropout, for the geometry of one draw of it.
        check: audit the first answer for this module and these parameters against autograd.

    Returns:
        The geometry of each pair, in float64.

    Note:
        Responses must not influence each other, and every module must see one row a response, in the order of the
        responses (or flattened rows in that order). What breaks this is refused by name, or fails the audit.
    """
    found = _streamed(module, forward, PairMode, dropout=dropout, check=check)
    products, names = found.owners.grouped(found.products, by, shape=(3, len(found.logps) // 2))
    return PairGram.from_products(products, names)


def batch_gram(
    module: nn.Module,
    forward: Forward | Sequence[Forward],
    *,
    by: Breakdown | None = None,
    dropout: bool = False,
    check: bool = True,
    memory: float | None = None,
) -> BatchGram:
    """Compute the Gram matrix of all responses of a batch, exactly.

    The same numbers as `brute_force_batch_gram`. A batch in one pass is reduced module by module; over several passes
    the factors of the gradients are kept, or the gradients themselves where they are smaller.

    Args:
        module: whose parameters with `requires_grad` are differentiated; left as it was found.
        forward: as for `pair_gram`; or several such functions (micro-batches), whose pairs together form the batch.
        by: `layer` or `module` for a leading block axis; blocks add up to the whole.
        dropout: allow active dropout, for the geometry of one draw of it.
        check: audit the first answer for this module and these parameters against autograd.
        memory: bytes that several passes may keep between them; where that is too little, the parameters are split into
            groups and the passes repeated for each.

    Returns:
        The Gram, chosen responses of all micro-batches first, and the numbers that were differentiated, in float64.
    """
    forwards = [forward] if callable(forward) else list(forward)
    if len(forwards) == 1:
        found = _streamed(module, forwards[0], BatchMode, dropout=dropout, check=check)
        owners, table, logps = found.owners, found.products, found.logps
    else:

        def run(owners: Owners) -> tuple[Owners, tuple[list[Tensor | None], Tensor]]:
            return owners, gram_over_passes(owners, forwards, equal_inputs=not dropout, memory=memory)

        owners, (table, logps) = with_settled_owners(module, forwards, run, dropout=dropout, check=check)
    whole, names = owners.grouped(table, by, shape=(len(logps), len(logps)))
    return BatchGram(whole, logps.cpu(), names)


def _streamed(module: nn.Module, forward: Forward, mode: type[Mode], *, dropout: bool, check: bool) -> GramAccumulator:
    def make(owners: Owners) -> GramAccumulator:
        return GramAccumulator(owners, mode, equal_inputs=not dropout)

    return settled_pass(module, forward, make, lambda found: found, dropout=dropout, check=check)
