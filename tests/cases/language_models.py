"""Small language models and a tokenizer, made from nothing."""

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

_TEXT = ["the sky is blue and the sea is green", "two dogs ran over the hill", "yes no maybe", "positive negative"]
_LLAMA = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 96,
}
_SHAPE = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 96},
    "llama": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": {**_LLAMA, "head_dim": 8},
    "gemma2": {**_LLAMA, "head_dim": 8, "sliding_window": 64, "query_pre_attn_scalar": 8},
    "opt": {
        "hidden_size": 16, "ffn_dim": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 96, "word_embed_proj_dim": 16, "dropout": 0.0,
    },
    "gpt_neox": {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 96,
    },
    "granite": _LLAMA,
    "cohere": _LLAMA,
    "mixtral": {**_LLAMA, "num_local_experts": 3, "num_experts_per_tok": 2, "experts_implementation": "eager"},
}  # fmt: skip


def tiny_tokenizer(*, chat=True, pad="<pad>"):
    """Byte-level BPE that merges across the prompt's end ("bl" + "ue"); padding differs from the end of sequence."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<s>", "</s>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_TEXT * 20, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token=pad)
    if chat:
        wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def tiny_model(kind="gpt2", *, dtype=torch.float64, seed=0, **changes):
    """A causal language model of a few thousand parameters whose gradients are not tiny."""
    common = {"vocab_size": 320, "initializer_range": 0.2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = AutoConfig.for_model(kind, use_cache=False, **(common | _SHAPE[kind] | changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config).to(dtype).eval()


def tiny_lora(*, dtype=torch.float64, seed=0, kind="llama", b_std=0.1, **changes):
    """A model with an adapter; its B matrices are random unless `b_std` is 0, as in a new adapter."""
    arguments = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj", "down_proj"]} | changes
    model = get_peft_model(tiny_model(kind, dtype=dtype, seed=seed), LoraConfig(task_type="CAUSAL_LM", **arguments))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed + 1)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=b_std)
    return model.to(dtype).eval()


def _frozen_below(kind="llama"):
    """Everything before the last layer is frozen."""
    model = tiny_model(kind)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("layers.1" in name or "norm" in name)
    return model


ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# Every kind of model the engine has met, by name. Values are functions that build one in float64.
MENAGERIE = {
    "gpt2": tiny_model,
    "gpt2 untied": lambda: tiny_model(tie_word_embeddings=False),
    "llama": lambda: tiny_model("llama"),
    "llama tied": lambda: tiny_model("llama", tie_word_embeddings=True),
    "qwen2": lambda: tiny_model("qwen2", tie_word_embeddings=True),
    "qwen3": lambda: tiny_model("qwen3"),
    "gemma2": lambda: tiny_model("gemma2"),
    "opt": lambda: tiny_model("opt"),
    "gpt_neox": lambda: tiny_model("gpt_neox"),
    "mixtral": lambda: tiny_model("mixtral"),
    "lora": tiny_lora,
    "lora, B is zero": lambda: tiny_lora(b_std=0.0),
    "lora on all linears of qwen2": lambda: tiny_lora(kind="qwen2", target_modules=ALL_LINEAR),
    "lora on gpt2": lambda: tiny_lora(kind="gpt2", target_modules=["c_attn", "c_proj"], fan_in_fan_out=True),
    "lora and lm_head": lambda: tiny_lora(target_modules=[*ALL_LINEAR, "lm_head"]),
    "rslora": lambda: tiny_lora(use_rslora=True),
    "dora": lambda: tiny_lora(use_dora=True),
    "lora with modules_to_save": lambda: tiny_lora(modules_to_save=["lm_head", "embed_tokens"]),
    "frozen layers": _frozen_below,
}
