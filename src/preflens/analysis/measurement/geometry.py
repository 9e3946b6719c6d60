"""Log-probs of one update batch, and the Gram of their gradients."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from preflens.analysis.measurement.forward_passes import MicroBatches
from preflens.errors import NonFiniteLogpError
from preflens.gram import batch_gram
from preflens.language_models.model import Reference
from preflens.language_models.quantized import kept_from_packing
from preflens.language_models.references import as_reference, is_policy
from preflens.pair_logps import PairLogps
from preflens.types import BatchGram, PairGram


@dataclass(frozen=True)
class BatchGeometry:
    """Log-probs and gradient geometry of an update batch. Nothing here depends on an objective.

    Attributes:
        logps: log-probs under policy and reference, with token counts.
        gram: Gram of all response gradients of the batch.
        by_layer: Gram of each pair by layer.
    """

    logps: PairLogps
    gram: BatchGram
    by_layer: PairGram


def batch_geometry(passes: MicroBatches, reference: Reference, *, memory: float | None = None) -> BatchGeometry:
    """Compute log-probs and gradient geometry of one update batch.

    Args:
        passes: the update batch.
        reference: a model, or `adapter-off`, `adapter-copy`, `self` (the policy itself, as at the first step of
            training) or `none`.
        memory: bytes that may be kept from pass to pass.

    Returns:
        The geometry, pairs in the order of the passes.

    Raises:
        NonFiniteLogpError: a log-prob is not finite. Where a repeated pass finds it, a `NumericalError` names the pair.
    """
    try:
        by_layer = batch_gram(passes.model, passes.forwards_to_head(), by="layer", memory=memory)
    except NonFiniteLogpError:
        with torch.no_grad():
            for forward in passes.forwards():
                forward()  # names the pair
        raise
    gram = by_layer.total()
    ref = gram.logps if is_policy(passes.model, reference) else _reference_logps(passes, reference)
    tokens = torch.cat([b.tokens.cpu().reshape(2, -1) for b in passes.batches], dim=1)
    ref_chosen, ref_rejected = (None, None) if ref is None else ref.reshape(2, -1).unbind()
    chosen, rejected = gram.logps.reshape(2, -1).unbind()
    return BatchGeometry(
        PairLogps(chosen, rejected, ref_chosen, ref_rejected, *tokens.unbind()), gram, by_layer.pair_gram()
    )


@torch.no_grad()
def _reference_logps(passes: MicroBatches, reference: Reference) -> Float[Tensor, " response"] | None:
    if reference == "none":
        return None
    with as_reference(passes.model, reference) as scorer, kept_from_packing(scorer or passes.model):
        values = [forward().double().cpu().reshape(2, -1) for forward in passes.forwards(scorer)]
    return torch.cat(values, dim=1).flatten()
