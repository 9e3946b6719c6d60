"""`nn.Embedding`, and its children that only multiply by a number (as Gemma's does): y_t = s · W[id_t]."""

import torch
from torch import Tensor, nn

from preflens.errors import UnsupportedModelError
from preflens.gram.capture.taps import ModuleCall
from preflens.gram.factors.factors import EmbeddingRows
from preflens.gram.factors.precision import widen
from preflens.gram.rules.base import LayerGradients, RuleContext, check_row_counts, rows_in_words


def embedding(call: ModuleCall, request: RuleContext, scale: float = 1.0) -> list[LayerGradients]:
    """Claim W: ∇W = Σ_t e_{id_t} ⊗ s d_t; the padding index gets none, as in torch.

    Args:
        call: of the module.
        request: what is asked.
        scale: s.

    Returns:
        The claim.

    Raises:
        UnsupportedModelError: one row is looked up for all responses.
    """
    module, (grads,) = call.module, call.gradients
    ids: Tensor = call.args[0] if call.args else call.kwargs["input"]
    assert isinstance(module, nn.Embedding)
    assert grads is not None
    if len(ids) == 1 < request.responses:  # positions, which the caller can give every response a row of
        raise UnsupportedModelError(rows_in_words(1, module, request.responses))
    check_row_counts(len(ids), module, request.responses)
    ids = ids.reshape(request.responses, -1)
    (d,) = widen(grads.reshape(*ids.shape, -1))
    if scale != 1:
        d = scale * d
    if module.padding_idx is not None:
        d = d.masked_fill((ids == module.padding_idx)[:, :, None], 0)
    return [LayerGradients(("weight",), EmbeddingRows(ids, d, module.num_embeddings))]


def embedding_scale(call: ModuleCall) -> float | None:
    """Recognise a child of `nn.Embedding` that multiplies by a number, from a few of its rows.

    Args:
        call: with its output kept.

    Returns:
        The number, or None if it does something else.
    """
    module = call.module
    ids = call.args[0] if call.args else call.kwargs.get("input")
    if not isinstance(module, nn.Embedding) or not isinstance(ids, Tensor) or ids.is_floating_point():
        return None
    if len(call.outputs) != 1 or call.outputs[0].shape[:-1] != ids.shape:
        return None
    flat = ids.flatten()
    if bool((flat >= module.num_embeddings).any()):
        return None
    some = (module.weight.detach()[flat] != 0).any(1).nonzero()[:16, 0]  # a padding entry is zero and tells nothing
    rows, found = (v.double() for v in (module.weight.detach()[flat[some]], call.outputs[0].flatten(0, -2)[some]))
    if len(rows) == 0:
        return None
    scale = float((rows * found).sum()) / float((rows * rows).sum())
    return scale if bool(torch.allclose(found, scale * rows, rtol=1e-2, atol=1e-6)) else None
