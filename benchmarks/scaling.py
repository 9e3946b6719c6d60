"""Cost of pair geometry by the length of rows and by the number of pairs in a pass."""

import torch

from benchmarks.shared.baselines import accumulating
from benchmarks.shared.clock import about, medians, print_json, run_script
from benchmarks.shared.models import CASES, random_pairs
from preflens import pair_gram
from preflens.language_models.output_head import head_input, plain_head

ROUNDS = 7


def measure(name: str, *, pairs: int, tokens: int, prompt: int | None = None) -> None:
    """Print one line: cost as a ratio to a training pass over the same pairs, and per pair."""
    torch.manual_seed(0)
    case = CASES[name]
    model, batch = case.make(), random_pairs(case.vocabulary, pairs, tokens=tokens, prompt=prompt)
    head = plain_head(model)
    assert head is not None
    methods = {
        "plain": lambda: accumulating(model, batch),
        "pairs": lambda: pair_gram(model, lambda: head_input(head, batch), check=False),
    }
    seconds = medians(methods, rounds=ROUNDS)
    row = {"model": name, "pairs": pairs, "tokens": tokens, "prompt": tokens // 2 if prompt is None else prompt}
    row |= {"ratio": seconds["pairs"] / seconds["plain"], "seconds a pair": seconds["pairs"] / pairs}
    print_json(row | {"plain seconds a pair": seconds["plain"] / pairs} | about())


def main() -> None:
    """Measure rows from 32 to 1024 tokens, passes from 1 to 64 pairs, and long prompts with short responses."""
    for tokens in (32, 64, 128, 256, 512, 1024):
        measure("GPT-2-like 45M", pairs=2 if tokens <= 256 else 1, tokens=tokens)
    for pairs in (1, 2, 4, 8, 16, 32, 64):
        measure("GPT-2-like 10M", pairs=pairs, tokens=128)
    for prompt in (128, 204, 232):
        measure("GPT-2-like 45M", pairs=1, tokens=256, prompt=prompt)


if __name__ == "__main__":
    torch.set_num_threads(2)
    run_script(main)
