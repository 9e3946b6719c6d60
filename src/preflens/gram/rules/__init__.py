"""Layer rules: what a module's inputs and output gradients say about the per-response gradients of its parameters.

`LAYER_RULES` is by exact class, because children lie about what they compute. Modules of other classes are recognised
by their numbers where they can be, and differentiated response by response where they cannot.
"""

from collections.abc import Mapping

from torch import nn
from transformers.pytorch_utils import Conv1D

from preflens.gram.rules.any_module import any_module
from preflens.gram.rules.base import Claim, Request, Rule
from preflens.gram.rules.conv1d import conv1d
from preflens.gram.rules.embedding import embedding, embedding_scale
from preflens.gram.rules.linear import is_linear, linear
from preflens.gram.rules.norm import is_norm, layer_norm, norm
from preflens.gram.tap import Call

LAYER_RULES: Mapping[type[nn.Module], Rule] = {
    nn.Linear: linear,
    Conv1D: conv1d,
    nn.Embedding: embedding,
    nn.LayerNorm: layer_norm,
}

__all__ = ["LAYER_RULES", "Claim", "Request", "Rule", "claims_of"]


def claims_of(call: Call, request: Request) -> list[Claim]:
    """Find the rule for a call and apply it.

    Args:
        call: of a module, with its outputs kept unless its class has a rule.
        request: what is asked.

    Returns:
        Claims for all wanted parameters.
    """
    rule = LAYER_RULES.get(type(call.module))
    if rule is not None:
        return rule(call, request)
    if is_linear(call):
        return linear(call, request)
    scale = embedding_scale(call)
    if scale is not None:
        return embedding(call, request, scale)
    return norm(call, request) if is_norm(call, request) else any_module(call, request)
