"""Log-probs of responses under a causal language model, equal to those of TRL's trainer."""

import torch
from jaxtyping import Float
from torch import Tensor

from preflens.language_models.batch import PairBatch, model_inputs
from preflens.language_models.model import LanguageModel, without_adapter_wrapper


def response_logps(model: LanguageModel, batch: PairBatch) -> Float[Tensor, " response"]:
    """Compute log π(y|x) of every response of a batch.

    log π(y|x) = Σ_t log softmax(logits_{t−1})[y_t] over the response's tokens, in nats: a sum, not a mean. The softmax
    is computed in float32 or float64 whatever the model's dtype, and only at positions that predict a response token.

    Args:
        model: a Hugging Face causal language model; called in its current mode.
        batch: rows in TRL's layout.

    Returns:
        One log-prob per row, chosen rows first, with a graph if gradients are enabled.
    """
    token_logps = scored_token_logps(model, batch)
    row = batch.completion_mask[:, 1:].nonzero()[:, 0]
    logps: Tensor = token_logps.new_zeros(len(batch.input_ids)).index_add(0, row, token_logps)
    return logps


def scored_token_logps(model: LanguageModel, batch: PairBatch) -> Float[Tensor, " scored_token"]:
    """Compute log π(y_t | x, y_<t) of every response token of a batch, from the logits that the model returns.

    Args:
        model: a Hugging Face causal language model.
        batch: rows in TRL's layout.

    Returns:
        One log-prob per token, response by response, nats.
    """
    logits = model(**model_inputs(without_adapter_wrapper(model), batch), use_cache=False).logits
    predicts_response = batch.completion_mask[:, 1:]
    scores = logits[:, :-1][predicts_response]  # [scored token, vocab]
    if scores.dtype in {torch.float16, torch.bfloat16}:
        scores = scores.float()
    targets = batch.input_ids[:, 1:][predicts_response]
    token_logps: Tensor = scores.gather(1, targets[:, None]).squeeze(1) - scores.logsumexp(dim=1)
    return token_logps
