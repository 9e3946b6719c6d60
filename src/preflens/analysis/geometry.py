"""What the model is asked about one update batch: log-probs and the Gram of their gradients."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from preflens.errors import NumericalError
from preflens.gram import batch_gram
from preflens.gram.exact import Forward
from preflens.language_models.batch import PairBatch, collate
from preflens.language_models.logps import response_logps
from preflens.language_models.model import LanguageModel, Reference, adapter_off
from preflens.language_models.tokenizing import TokenizedPair
from preflens.types import BatchGram, PairGram, PairLogps


@dataclass(frozen=True)
class BatchGeometry:
    """What does not depend on any objective.

    Attributes:
        logps: log-probs under policy and reference, with token counts.
        gram: Gram of all response gradients.
        by_layer: Gram of each pair, layer by layer.
    """

    logps: PairLogps
    gram: BatchGram
    by_layer: PairGram


@dataclass(frozen=True)
class Passes:
    """An update batch cut into forward passes.

    Attributes:
        model: the policy.
        pairs: of each pass.
        batches: the same, laid out for the model.
    """

    model: LanguageModel
    pairs: tuple[tuple[TokenizedPair, ...], ...]
    batches: tuple[PairBatch, ...]

    def forwards(self, model: LanguageModel | None = None) -> list[Forward]:
        """Return one function a pass that computes its log-probs and refuses those that are not finite.

        Args:
            model: another model than the policy.

        Returns:
            Functions of nothing.
        """
        scorer = self.model if model is None else model
        parts = zip(self.batches, self.pairs, strict=True)
        return [partial(_scores, scorer, batch, pairs) for batch, pairs in parts]


def make_passes(model: LanguageModel, pairs: Sequence[TokenizedPair], *, micro_batch: int, pad_token_id: int) -> Passes:
    """Cut the pairs of an update batch, in order, into forward passes.

    Args:
        model: the policy; batches are put on its device.
        pairs: of the update batch, best sorted by length.
        micro_batch: pairs in a pass.
        pad_token_id: fills rows on the right.

    Returns:
        The passes.
    """
    cut = tuple(tuple(pairs[start : start + micro_batch]) for start in range(0, len(pairs), micro_batch))
    batches = tuple(collate(part, pad_token_id=pad_token_id, device=model.device) for part in cut)
    return Passes(model, cut, batches)


def batch_geometry(passes: Passes, reference: Reference) -> BatchGeometry:
    """Compute log-probs and gradient geometry of one update batch.

    Args:
        passes: the update batch.
        reference: a model, `adapter-off`, `self` (the policy itself, as at the first step of training) or `none`.

    Returns:
        The geometry, pairs in the order of the passes.
    """
    by_layer = batch_gram(passes.model, passes.forwards(), by="layer")
    gram = by_layer.total()
    ref = gram.logps if reference == "self" else _reference_logps(passes, reference)
    tokens = torch.cat([b.tokens.cpu().reshape(2, -1) for b in passes.batches], dim=1)
    ref_chosen, ref_rejected = (None, None) if ref is None else ref.reshape(2, -1).unbind()
    chosen, rejected = gram.logps.reshape(2, -1).unbind()
    return BatchGeometry(
        PairLogps(chosen, rejected, ref_chosen, ref_rejected, *tokens.unbind()), gram, by_layer.pair_gram()
    )


@torch.no_grad()
def _reference_logps(passes: Passes, reference: Reference) -> Float[Tensor, " response"] | None:
    if reference == "none":
        return None
    scorer = None if isinstance(reference, str) else reference
    with adapter_off(passes.model) if reference == "adapter-off" else nullcontext():
        values = [forward().double().cpu().reshape(2, -1) for forward in passes.forwards(scorer)]
    return torch.cat(values, dim=1).flatten()


def _scores(model: LanguageModel, batch: PairBatch, pairs: Sequence[TokenizedPair]) -> Float[Tensor, " response"]:
    logps = response_logps(model, batch)
    bad = ~torch.isfinite(logps.detach())
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        side = "chosen" if row < len(pairs) else "rejected"
        raise NumericalError(
            f"The log-prob of the {side} response of pair `{pairs[row % len(pairs)].pair.id}` is {logps[row].item()}. "
            "The model's weights or scores are not finite, or overflow in this type; try `--dtype float32`."
        )
    return logps
