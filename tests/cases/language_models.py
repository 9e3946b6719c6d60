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
_SHAPE = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 96},
    "llama": {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 96,
    },
}


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


def tiny_lora(*, dtype=torch.float64, seed=0):
    """A Llama-like model with an adapter whose B matrices are not zero."""
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(tiny_model("llama", dtype=dtype, seed=seed), config)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed + 1)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return model.to(dtype).eval()
