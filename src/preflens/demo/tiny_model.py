"""A tokenizer and a small GPT-2, trained from scratch."""

import random
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from preflens.demo.synthetic_reviews import ReviewRow, all_words
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.reading import pairs_in_memory
from preflens.language_models.tokenizing import TokenizedPair, tokenize_pairs

_CONTEXT = 64


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Train a byte-pair tokenizer in which every word of the reviews is one token.

    Returns:
        The tokenizer, with separate padding and end-of-sequence tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=special, show_progress=False, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(all_words(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def make_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> GPT2LMHeadModel:
    """Return an untrained GPT-2 with two layers of width 48.

    Args:
        tokenizer: it determines the vocabulary.
        seed: random seed of the weights.

    Returns:
        The model, without dropout.
    """
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=_CONTEXT, n_embd=48, n_layer=2, n_head=2, bos_token_id=end,
        eos_token_id=end, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)


def tokenize(
    rows: Sequence[ReviewRow | PreferencePair], tokenizer: PreTrainedTokenizerFast
) -> tuple[TokenizedPair, ...]:
    """Tokenize generated rows.

    Args:
        rows: rows with `prompt`, `chosen` and `rejected`.
        tokenizer: the tokenizer.

    Returns:
        The tokenized pairs.
    """
    return tokenize_pairs(pairs_in_memory(rows).pairs, tokenizer, max_length=_CONTEXT).pairs


def train_language_model(
    model: GPT2LMHeadModel,
    pairs: Sequence[TokenizedPair],
    *,
    steps: int,
    learning_rate: float,
    on_prompts_too: bool,
    draw: random.Random,
) -> None:
    """Train on prompts and chosen responses with AdamW.

    Args:
        model: changed in place.
        pairs: the pairs; rejected responses are not used.
        steps: number of updates, of 32 texts each.
        learning_rate: learning rate of AdamW.
        on_prompts_too: include the prompts in the loss, as in pretraining; otherwise the responses only.
        draw: random generator.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    for _ in range(steps):
        batch = collate(draw.sample(pairs, 32), pad_token_id=0)
        if on_prompts_too:
            batch = type(batch)(batch.input_ids, batch.attention_mask, batch.attention_mask)
        chosen = len(batch.input_ids) // 2
        loss = -response_logps(model, batch)[:chosen].sum() / batch.tokens[:chosen].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
