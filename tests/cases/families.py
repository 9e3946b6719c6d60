"""Families of language models that are no plain stack of known layers: state spaces, hybrids, experts, streams."""

import torch
from peft import IA3Config, LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from tests.cases.language_models import tiny_model

_COMMON = {
    "vocab_size": 320, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 96, "initializer_range": 0.2, "use_cache": False,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "experts_implementation": "eager",
}  # fmt: skip
_HEAD = {"head_dim": 8}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
_SHARED_EXPERT = {"shared_expert_intermediate_size": 8}
_DELTA = {
    "linear_num_value_heads": 2, "linear_num_key_heads": 1, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
}  # fmt: skip
_HYBRID = {"layer_types": ["linear_attention", "full_attention"]}
_MAMBA = {"state_size": 4, "expand": 2, "conv_kernel": 4, "time_step_rank": 2}
_MIXER = {
    "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 4, "mamba_chunk_size": 8,
}  # fmt: skip
_CONVOLUTION = {"layer_types": ["conv", "full_attention"]}

_SHAPES = {
    "qwen3_next": _HEAD | _EXPERTS | _SHARED_EXPERT | _DELTA | _HYBRID,
    "qwen3_5_text": _HEAD | _DELTA | _HYBRID,
    "mamba": _MAMBA,
    "mamba2": {"state_size": 4, "expand": 2, "conv_kernel": 4, "num_heads": 4, "head_dim": 8, "n_groups": 1,
               "chunk_size": 8},
    "falcon_mamba": _MAMBA,
    "jamba": {"num_experts": 4, "num_experts_per_tok": 2, "mamba_d_state": 4, "mamba_dt_rank": 2,
              "attn_layer_period": 2, "attn_layer_offset": 1},
    "bamba": _MIXER | {"attn_layer_indices": [1]},
    "falcon_h1": _HEAD | _MIXER | {"mamba_d_ssm": 32},
    "granitemoehybrid": _MIXER | {"layer_types": ["mamba", "attention"], "num_local_experts": 4,
                                  "num_experts_per_tok": 2, "shared_intermediate_size": 16},
    "lfm2": _CONVOLUTION | {"block_ff_dim": 24, "block_multiple_of": 8},
    "lfm2_moe": _CONVOLUTION | _EXPERTS | {"num_dense_layers": 1},
    "olmo_hybrid": _HYBRID | _DELTA | {"linear_num_key_heads": 2},
    "kimi_linear": _HYBRID | {
        "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "kv_lora_rank": 4,
        "qk_rope_head_dim": 4, "v_head_dim": 8, "qk_nope_head_dim": 4, "linear_head_dim": 8, "linear_num_heads": 2,
        "num_key_value_heads": 2,
    },
    "nemotron_h": _HEAD | {
        "hybrid_override_pattern": "M*-", "num_hidden_layers": 3, "mamba_num_heads": 4, "mamba_head_dim": 8,
        "n_groups": 1, "ssm_state_size": 4, "chunk_size": 8,
    },
    "gemma3n_text": _HEAD | {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 320, "laurel_rank": 4,
                     "layer_types": ["sliding_attention", "full_attention"], "num_kv_shared_layers": 0,
                     "activation_sparsity_pattern": [0.0, 0.0], "sliding_window": 64},
    "llama4_text": _HEAD | {"num_local_experts": 4, "num_experts_per_tok": 1, "intermediate_size_mlp": 24,
                    "attention_chunk_size": 64, "no_rope_layers": [1, 0], "moe_layers": [1]},
    "falcon": {},
    "jetmoe": {"num_local_experts": 4, "num_experts_per_tok": 2, "kv_channels": 8, "num_key_value_heads": 2,
               "activation_function": "silu"},
    "recurrent_gemma": _HEAD | {"lru_width": 16, "attention_window_size": 64, "block_types": ["recurrent", "attention"],
                        "conv1d_width": 4},
}  # fmt: skip


def tiny_family(kind, *, dtype=torch.float64, seed=0, **changes):
    """A model of a few thousand parameters; its experts are looped over, for they have no float64 kernel."""
    config = AutoConfig.for_model(kind, **(_COMMON | _SHAPES[kind] | changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).to(dtype).eval()
        with torch.no_grad():
            for p in model.parameters():  # what starts at zero or one hides mistakes
                p.add_(0.05 * torch.randn_like(p))
    return model


def _adapted(model, config, *, seed=1):
    """A model with an adapter whose numbers are all random."""
    adapted = get_peft_model(model, config)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for p in adapted.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    return adapted.double().eval()


def lora(model, **arguments):
    """LoRA of rank 2."""
    return _adapted(model, LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=4, **arguments))


def ia3():
    """IA3, whose vectors lie in a dictionary that is never called."""
    config = IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj"], feedforward_modules=[])
    return _adapted(tiny_model("llama"), config)


# Adapters whose parameters are used outside of calls of the modules that own them.
ADAPTERS = {
    "lora on experts": lambda: lora(
        tiny_model("mixtral"), target_modules=["q_proj"],
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
    ),
    "lora on embeddings": lambda: lora(tiny_model("llama"), target_modules=["embed_tokens", "q_proj"]),
    "trainable tokens": lambda: lora(
        tiny_model("llama"), target_modules=["q_proj"], trainable_token_indices=[4, 5, 70, 100, 260]
    ),
    "trainable tokens, tied": lambda: lora(
        tiny_model("llama", tie_word_embeddings=True), target_modules=["q_proj"],
        trainable_token_indices=[4, 5, 70, 100, 260],
    ),
    "ia3": ia3,
}  # fmt: skip

FAMILIES = {kind: (lambda kind=kind: tiny_family(kind)) for kind in _SHAPES} | ADAPTERS
