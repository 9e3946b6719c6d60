"""The output head of a language model, if it is a linear map from hidden states to logits."""

import logging
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedConfig

from preflens.language_models.batch import PairBatch, model_inputs
from preflens.language_models.fused_gelu import fused_activations
from preflens.language_models.logps import scored_token_logps
from preflens.language_models.model import LanguageModel, evaluating, without_adapter_wrapper
from preflens.types import HeadInput, TokenRows

LOGGER = logging.getLogger("preflens")

# Tolerance of a token's log-prob against the model's own, as a share of 1 + the largest score: rounding of the scores,
# which some models compute in float32 whatever their dtype.
_SAME = {torch.float64: 1e-6, torch.float32: 1e-5}
_SAME_HALF = 1e-2
# Names of κ in configurations: most families; RecurrentGemma; xLSTM.
_SOFT_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")


@dataclass(frozen=True)
class PlainHead:
    """A head with the scores scale · (W h + b), optionally soft-capped.

    Attributes:
        backbone: the module that computes the hidden states h.
        linear: W and b.
        scale: factor on the scores.
        soft_cap: κ of κ tanh(z/κ), or None.
    """

    backbone: nn.Module
    linear: nn.Linear
    scale: float
    soft_cap: float | None


def plain_head(model: LanguageModel, batch: PairBatch | None = None) -> PlainHead | None:
    """Recognize the head of a model, and compare its log-probs with the model's own.

    Args:
        model: a causal language model, with or without an adapter.
        batch: the first real rows, for the comparison and for a warning if the head is not linear; None compares on two
            tokens, where different heads may agree.

    Returns:
        The head, or None for another kind: a module that is not an `nn.Linear` (for example with an adapter on it), or
        an unknown operation between hidden states and scores.
    """
    head = _from_configuration(model)
    if head is not None:
        rows = _two_tokens(head.linear.weight) if batch is None else batch
        with torch.no_grad(), evaluating(model):
            theirs = scored_token_logps(model, rows)
            if not bool(torch.isfinite(theirs).all()):
                return None  # later passes raise an error that names the pair
            if _matches(head, theirs, rows):
                return head
    if batch is not None:
        LOGGER.warning(
            "The output head of this `%s` is no plain linear map of hidden states, so the model itself scores every "
            "token of a row: the numbers are the same, and take more time and memory.",
            type(without_adapter_wrapper(model)).__name__,
        )
    return None


def _from_configuration(model: LanguageModel) -> PlainHead | None:
    """The head according to the model's configuration."""
    base = without_adapter_wrapper(model)
    linear, backbone = _active(base.get_output_embeddings()), _backbone(base)
    if type(linear) is not nn.Linear or backbone is None:
        return None
    config = base.config.get_text_config()
    caps = (getattr(config, name, None) for name in _SOFT_CAPS)
    return PlainHead(backbone, linear, _scale(config), next((float(cap) for cap in caps if cap), None))


def _backbone(base: LanguageModel) -> nn.Module | None:
    modules = [getattr(base, name, None) for name in ("base_model", "model")]  # Llama 4 uses the second name
    return next((module for module in modules if isinstance(module, nn.Module) and module is not base), None)


def _two_tokens(weight: Tensor) -> PairBatch:
    ids = torch.tensor([[0, len(weight) - 1, 0], [len(weight) - 1, 0, 0]], device=weight.device)
    everything = torch.ones_like(ids, dtype=torch.bool)
    return PairBatch(ids, everything, everything)


def _matches(head: PlainHead, theirs: Float[Tensor, " scored_token"], batch: PairBatch) -> bool:
    """Compare with the model's own log-probs, token by token, up to rounding."""
    inputs = head_input(head, batch)
    if inputs.hidden.shape[-1] != inputs.weight.shape[1]:
        return False
    raw = head.linear(inputs.hidden.to(inputs.weight.dtype))
    scores = raw.to(torch.promote_types(raw.dtype, torch.float32)) * head.scale
    if head.soft_cap is not None:
        scores = head.soft_cap * torch.tanh(scores / head.soft_cap)
    ours = scores.gather(1, inputs.targets[:, None]).squeeze(1) - scores.logsumexp(1)
    allowed = _SAME.get(raw.dtype, _SAME_HALF) * (1 + float(scores.abs().max()))
    return bool(((ours - theirs).abs() <= allowed).all())


def head_input(head: PlainHead, batch: PairBatch) -> HeadInput:
    """Compute the inputs of a model's output head.

    Args:
        head: the head of the model.
        batch: rows in TRL's layout.

    Returns:
        The hidden states that predict a response token, with their graph, and the parameters of the head.
    """
    with fused_activations(head.backbone):
        hidden = head.backbone(use_cache=False, **model_inputs(head.backbone, batch))[0]
    return head_input_from_hidden(head, hidden, batch)


def head_input_from_hidden(head: PlainHead, hidden: Float[Tensor, "response token in"], batch: PairBatch) -> HeadInput:
    """Return what the head gets, given the hidden states of all positions.

    Args:
        head: of the model.
        hidden: what the backbone returned for the batch.
        batch: rows in TRL's layout.

    Returns:
        The hidden states that predict a response token, and what the head does with them.
    """
    linear, rows = head.linear, hidden[:, :-1][batch.completion_mask[:, 1:]]
    return head_input_from_rows(rows, linear.weight, batch, bias=linear.bias, scale=head.scale, soft_cap=head.soft_cap)


def head_input_from_rows(
    rows: Float[Tensor, "scored_token in"],
    weight: Float[Tensor, "vocab in"],
    batch: PairBatch,
    *,
    bias: Float[Tensor, " vocab"] | None,
    scale: float,
    soft_cap: float | None,
) -> HeadInput:
    """Return what a head gets, given the hidden states that predict a response token.

    Args:
        rows: those hidden states, response by response.
        weight: W of the head.
        batch: rows in TRL's layout.
        bias: b of the head, or None.
        scale: factor on the scores.
        soft_cap: κ of κ tanh(z/κ), or None.

    Returns:
        These, with the tokens that they predict and the positions that can carry a gradient.
    """
    predicts = batch.completion_mask[:, 1:]
    return HeadInput(
        rows, weight, batch.input_ids[:, 1:][predicts], predicts.nonzero()[:, 0], len(batch.input_ids),
        bias=bias, scale=scale, soft_cap=soft_cap, rows=token_rows(batch),
    )  # fmt: skip


def token_rows(batch: PairBatch) -> TokenRows:
    """Return the positions of a batch that can have a gradient, and those that both responses of a pair share.

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
    """The trained copy if PEFT keeps one in addition to the original (`modules_to_save`)."""
    copies, active = getattr(module, "modules_to_save", None), getattr(module, "active_adapters", None)
    return copies[active[0]] if isinstance(copies, nn.ModuleDict) and isinstance(active, list) and active else module


def _scale(config: PreTrainedConfig) -> float:
    """The factor on the scores, by its names in the configurations of model families."""
    divisor = getattr(config, "logits_scaling", None)  # Granite, MiniCPM; HyperCLOVA X multiplies with it
    if divisor:
        return float(divisor) if config.model_type == "hyperclovax" else 1 / float(divisor)
    factors = (getattr(config, name, None) for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"))
    return next((float(factor) for factor in factors if factor), 1.0)
