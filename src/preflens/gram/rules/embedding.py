"""`nn.Embedding`, and subclasses that only multiply by a number (as Gemma's does): y_t = s · W[id_t]."""

import torch
from torch import Tensor, nn

from preflens.errors import UnsupportedModelError
from preflens.gram.capture.calls import ModuleCall
from preflens.gram.factors.factors import EmbeddingRows
from preflens.gram.factors.precision import widen
from preflens.gram.rules.base import LayerGradients, RuleContext, check_row_counts, describe_row_mismatch


def embedding(call: ModuleCall, context: RuleContext, scale: float = 1.0) -> list[LayerGradients]:
    """Return ∇W = Σ_t e_{id_t} ⊗ s d_t, with d the output gradients; the padding index gets none, as in torch.

    Args:
        call: of the module.
        context: number of responses.
        scale: s.

    Returns:
        The gradients of W.

    Raises:
        UnsupportedModelError: one row is looked up for all responses.
    """
    module, (grads,) = call.module, call.gradients
    ids: Tensor = call.args[0] if call.args else call.kwargs["input"]
    assert isinstance(module, nn.Embedding)
    assert grads is not None
    if len(ids) == 1 < context.responses:  # positions; the caller can pass one row of them per response
        raise UnsupportedModelError(describe_row_mismatch(1, module, context.responses))
    check_row_counts(len(ids), module, context.responses)
    ids = ids.reshape(context.responses, -1)
    (d,) = widen(grads.reshape(*ids.shape, -1))
    if scale != 1:
        d = scale * d
    if module.padding_idx is not None:
        d = d.masked_fill((ids == module.padding_idx)[:, :, None], 0)
    return [LayerGradients(("weight",), EmbeddingRows(ids, d, module.num_embeddings))]


def embedding_scale(call: ModuleCall) -> float | None:
    """Recognize a subclass of `nn.Embedding` that multiplies by a number, from a few of its rows.

    Args:
        call: with its output.

    Returns:
        The number, or None where the module computes something else.
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
    weight = module.weight.detach()
    sample = (weight[flat] != 0).any(1).nonzero()[:16, 0]  # a padding entry is zero and gives no information
    rows, outputs = (v.double() for v in (weight[flat[sample]], call.outputs[0].flatten(0, -2)[sample]))
    if len(rows) == 0:
        return None
    scale = float((rows * outputs).sum()) / float((rows * rows).sum())
    return scale if bool(torch.allclose(outputs, scale * rows, rtol=1e-2, atol=1e-6)) else None
