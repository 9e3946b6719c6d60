"""Layer rules: what a module's inputs and output gradients say about the per-response gradients of its parameters.

`LAYER_RULES` is by exact class, because children lie about what they compute. Modules of other classes are recognised
by their numbers where they can be, and differentiated response by response where they cannot. That happens as a call is
made: later the model may have changed in place what went in or came out.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from preflens.gram.capture.taps import CHANGED, Keep, ModuleCall, Reading, TapState
from preflens.gram.rules.any_module import any_module
from preflens.gram.rules.base import LayerGradients, Rule, RuleContext
from preflens.gram.rules.conv1d import conv1d
from preflens.gram.rules.embedding import embedding, embedding_scale
from preflens.gram.rules.linear import is_linear, linear
from preflens.gram.rules.norm import layer_norm, norm, norm_form

LAYER_RULES: Mapping[type[nn.Module], Rule] = {
    nn.Linear: linear,
    Conv1D: conv1d,
    nn.Embedding: embedding,
    nn.LayerNorm: layer_norm,
}

__all__ = ["LAYER_RULES", "LayerGradients", "Rule", "RuleContext", "recognize", "recognize_whole"]


def recognize(call: ModuleCall, state: TapState) -> Reading:
    """Find the rule for a call.

    Args:
        call: of a module that owns parameters, as it is made.
        state: of the taps.

    Returns:
        The rule, and what it needs.
    """
    rule = LAYER_RULES.get(type(call.module))
    if rule is not None:
        return Reading(rule, Keep.NOTHING)
    with torch.no_grad(), torch.autocast(call.outputs[0].device.type, enabled=False), state.switched_off():
        if is_linear(call):
            return Reading(linear, Keep.NOTHING)
        scale = embedding_scale(call)
        if scale is not None:
            return Reading(partial(embedding, scale=scale), Keep.NOTHING)
        form = norm_form(call)
    if form is None:
        return recognize_whole(call, state)
    divided = call.module not in CHANGED and form.divides(call.module)
    return Reading(norm, Keep.ALIAS if divided else Keep.NOTHING)


def recognize_whole(call: ModuleCall, state: TapState) -> Reading:  # noqa: ARG001  # as `recognize`
    """Have a module differentiated as a whole, whatever it is.

    Args:
        call: of the module.
        state: of the taps.

    Returns:
        The rule for any module.
    """
    return Reading(any_module, Keep.COPY)
