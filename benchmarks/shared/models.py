"""Models with random weights in the sizes of the benchmarks, and batches of random pairs."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from preflens.language_models.batch import PairBatch

POSITIONS = 1024


@dataclass(frozen=True)
class Case:
    """A model, and the number of pairs in one pass.

    Attributes:
        name: for the tables.
        make: builds it.
        vocabulary: of the random tokens.
        pairs: in a pass.
    """

    name: str
    make: Callable[[], PreTrainedModel]
    vocabulary: int
    pairs: int


def _gpt2(width: int, layers: int, vocabulary: int) -> PreTrainedModel:
    config = GPT2Config(
        vocab_size=vocabulary,
        n_embd=width,
        n_layer=layers,
        n_head=width // 64,
        n_positions=POSITIONS,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).eval()


def _llama(width: int, layers: int, vocabulary: int) -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=int(width * 2.75),
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=max(1, width // 256),
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).eval()


def _lora(width: int, layers: int, vocabulary: int, rank: int) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linears, task_type="CAUSAL_LM")
    model = get_peft_model(_llama(width, layers, vocabulary), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    return model.eval()


CASES = {
    case.name: case
    for case in (
        Case("GPT-2-like 1M", lambda: _gpt2(128, 4, 4000), 4000, 8),
        Case("GPT-2-like 10M", lambda: _gpt2(256, 8, 16000), 16000, 4),
        Case("GPT-2-like 45M", lambda: _gpt2(512, 8, 39000), 39000, 4),
        Case("GPT-2-like 124M", lambda: _gpt2(768, 12, 50257), 50257, 2),
        Case("Llama-like 45M, untied", lambda: _llama(512, 8, 16000), 16000, 4),
        Case("Llama-like, width 2048, 2 layers", lambda: _llama(2048, 2, 32000), 32000, 2),
        Case("LoRA r=16 on Llama-like 45M", lambda: _lora(512, 8, 16000, 16), 16000, 4),
    )
}


def random_pairs(vocabulary: int, pairs: int, *, tokens: int = 128, prompt: int | None = None) -> PairBatch:
    """Draw random pairs, whose two responses share the prompt.

    Args:
        vocabulary: tokens are drawn from all but the first.
        pairs: how many.
        tokens: of prompt and response.
        prompt: tokens of the prompt; default half.

    Returns:
        The batch, without padding.
    """
    start = tokens // 2 if prompt is None else prompt
    ids = torch.randint(1, vocabulary, (2 * pairs, tokens))
    ids[pairs:, :start] = ids[:pairs, :start]
    response = (torch.arange(tokens) >= start).repeat(2 * pairs, 1)
    return PairBatch(ids, torch.ones_like(response), response)
