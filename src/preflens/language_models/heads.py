"""The output head of a language model, where it is a plain one: hidden states in, scores out, nothing between."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedConfig

from preflens.language_models.activations import fused_activations
from preflens.language_models.batch import PairBatch
from preflens.language_models.inputs import model_inputs
from preflens.language_models.model import LanguageModel, evaluating, without_adapter_wrapper
from preflens.types import HeadInput, TokenRows

# How much the scores of the head as understood may differ from the model's own, as a share of the largest.
_SAME = 1e-2


@dataclass(frozen=True)
class PlainHead:
    """A head whose scores are scale · (W h + b), perhaps soft-capped.

    Attributes:
        backbone: what computes the hidden states h.
        linear: W and b.
        scale: factor on the scores.
        soft_cap: κ of κ tanh(z/κ), or None.
    """

    backbone: nn.Module
    linear: nn.Linear
    scale: float
    soft_cap: float | None


def plain_head(model: LanguageModel) -> PlainHead | None:
    """Recognise the head of a model by comparing its scores on two tokens.

    Args:
        model: a causal language model, with or without an adapter.

    Returns:
        The head, or None where it is of another kind: scored by a module that is no `nn.Linear` (an adapter on it, for
        example), or with something between hidden states and scores that is not known here.
    """
    base = without_adapter_wrapper(model)
    linear = _active(base.get_output_embeddings())
    backbone = getattr(base, "base_model", None)
    if type(linear) is not nn.Linear or backbone is None or backbone is base:
        return None
    config = base.config.get_text_config()
    soft_cap = getattr(config, "final_logit_softcapping", None)
    ids = torch.tensor([[0, len(linear.weight) - 1]], device=linear.weight.device)
    with torch.no_grad(), evaluating(model):
        hidden = backbone(input_ids=ids, use_cache=False)[0]
        if hidden.shape[-1] != linear.weight.shape[1]:
            return None
        raw, scores = linear(hidden).float(), model(input_ids=ids, use_cache=False).logits.float()
    scale = _scale(config)
    expected = raw * scale
    if soft_cap is not None:
        expected = soft_cap * torch.tanh(expected / soft_cap)
    alike = expected.shape == scores.shape and bool((expected - scores).abs().max() <= _SAME * scores.abs().max())
    return PlainHead(backbone, linear, scale, soft_cap) if alike else None


def head_input(head: PlainHead, batch: PairBatch) -> HeadInput:
    """Run a model up to its head.

    Args:
        head: of the model.
        batch: rows in TRL's layout.

    Returns:
        What the head gets: the hidden states that predict a response token, with their graph.
    """
    with fused_activations(head.backbone):
        hidden = head.backbone(use_cache=False, **model_inputs(head.backbone, batch))[0]
    predicts = batch.completion_mask[:, 1:]
    return HeadInput(
        hidden[:, :-1][predicts],
        head.linear.weight,
        batch.input_ids[:, 1:][predicts],
        predicts.nonzero()[:, 0],
        len(batch.input_ids),
        bias=head.linear.bias,
        scale=head.scale,
        soft_cap=head.soft_cap,
        rows=token_rows(batch),
    )


def token_rows(batch: PairBatch) -> TokenRows:
    """Say which positions of a batch can carry a gradient, and which the two responses of a pair have in common.

    Args:
        batch: rows in TRL's layout.

    Returns:
        The positions, on the CPU.
    """
    ids, real, scored = (t.cpu() for t in (batch.input_ids, batch.attention_mask, batch.completion_mask))
    width = ids.shape[1]
    start = real.long().argmax(dim=1)
    end = width - 1 - scored.flip(1).long().argmax(dim=1)  # the last scored token is predicted one position before it
    equal = (ids == ids.roll(len(ids) // 2, 0)) & real & real.roll(len(ids) // 2, 0)
    first = torch.arange(width) < start[:, None]
    shared = (equal | first).long().cumprod(dim=1).sum(dim=1) - start
    return TokenRows(start, end, shared[: len(ids) // 2].clamp(min=0), width)


def _active(module: nn.Module | None) -> nn.Module | None:
    """The trained copy where PEFT keeps one beside the original (`modules_to_save`)."""
    copies, active = getattr(module, "modules_to_save", None), getattr(module, "active_adapters", None)
    return copies[active[0]] if isinstance(copies, nn.ModuleDict) and isinstance(active, list) and active else module


def _scale(config: PreTrainedConfig) -> float:
    """The factor on the scores, under the names that families of models give it."""
    divisor = getattr(config, "logits_scaling", None)  # Granite, MiniCPM; HyperCLOVA X multiplies with it
    if divisor:
        return float(divisor) if config.model_type == "hyperclovax" else 1 / float(divisor)
    factors = (getattr(config, name, None) for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"))
    return next((float(factor) for factor in factors if factor), 1.0)
