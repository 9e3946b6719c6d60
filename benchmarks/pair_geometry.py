"""Cost of the gradient geometry of pairs, as a ratio to a plain forward and backward pass over the same pairs."""

import json
import os
import platform
import time
from collections.abc import Callable
from statistics import median

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from preflens import batch_gram, pair_gram
from preflens.language_models.batch import PairBatch
from preflens.language_models.logps import response_logps

SIZES = {"GPT-2-like 1M": (128, 4, 4000), "GPT-2-like 10M": (256, 8, 16000)}  # width, layers, vocabulary
PAIRS, TOKENS, ROUNDS = 4, 128, 5


def make(width: int, layers: int, vocabulary: int) -> tuple[GPT2LMHeadModel, PairBatch]:
    """Build a model with random weights and a batch whose second half of tokens is the response."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_embd=width,
        n_layer=layers,
        n_head=4,
        n_positions=TOKENS,
        bos_token_id=0,
        eos_token_id=0,
    )
    ids = torch.randint(1, vocabulary, (2 * PAIRS, TOKENS))
    ids[PAIRS:, : TOKENS // 2] = ids[:PAIRS, : TOKENS // 2]
    response = torch.zeros_like(ids, dtype=torch.bool)
    response[:, TOKENS // 2 :] = True
    return GPT2LMHeadModel(config).eval(), PairBatch(ids, torch.ones_like(response), response)


def plain(model: GPT2LMHeadModel, batch: PairBatch) -> None:
    """One training step's forward and backward."""
    model.zero_grad()
    response_logps(model, batch).sum().backward()


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Print one JSON line a size and method."""
    about = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }
    for name, size in SIZES.items():
        model, batch = make(*size)
        methods: dict[str, Callable[[], object]] = {
            "plain": lambda model=model, batch=batch: plain(model, batch),
            "pair_gram": lambda model=model, batch=batch: pair_gram(model, lambda: response_logps(model, batch)),
            "batch_gram": lambda model=model, batch=batch: batch_gram(model, lambda: response_logps(model, batch)),
        }
        times: dict[str, list[float]] = {method: [] for method in methods}
        for _ in range(ROUNDS):
            for method, run in methods.items():
                times[method].append(seconds(run))
        unit = median(times["plain"])
        for method, taken in times.items():
            row = {"model": name, "pairs": PAIRS, "tokens": TOKENS, "method": method}
            print(
                json.dumps(row | {"ratio": round(median(taken) / unit, 3), "seconds": round(median(taken), 4)} | about)
            )


if __name__ == "__main__":
    main()
