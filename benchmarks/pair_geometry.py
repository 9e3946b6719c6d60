"""Cost of gradient geometry as a ratio to a training pass over the same pairs, for models of several sizes.

Every model and group of methods is measured in a process of its own, so that no method finds memory as another left it.
`--group MODEL GROUP` is such a process, `--memory MODEL METHOD` one that prints the peak memory of one call.
"""

import subprocess
import sys
from collections.abc import Callable

import torch
from transformers import PreTrainedModel

from benchmarks.shared.baselines import accumulating, lean, one_backward_each, opacus_method, plain, vmap_grad
from benchmarks.shared.clock import about, medians, peak_elsewhere, peak_of, print_json, run_script
from benchmarks.shared.models import CASES, Case, random_pairs
from preflens import batch_gram, pair_gram
from preflens.gram import directional_derivatives
from preflens.language_models.batch import PairBatch
from preflens.language_models.output_head import head_input, plain_head

ROUNDS = 9
FULL_RESPONSES = {"GPT-2-like 124M": 8}  # the Gram of eight responses, beside its own training pass
MEMORY_OF = ("plain", "pairs", "one backward each")
ENGINE = ("plain", "plain, accumulating", "lean", "pairs", "full", "directional")
BRUTE = ("plain, accumulating", "pairs", "one backward each")
OTHERS = ("plain, accumulating", "pairs", "vmap(grad)", "opacus")
GROUPS = {"engine": (ENGINE, ROUNDS), "brute force": (BRUTE, 5), "others": (OTHERS, 3)}


def methods_of(model: PreTrainedModel, batch: PairBatch) -> dict[str, Callable[[], object]]:
    """Return all methods by name."""
    head = plain_head(model)
    assert head is not None
    forward = lambda: head_input(head, batch)  # noqa: E731  # shared by the entries below
    update = [torch.randn_like(p) for p in model.parameters() if p.requires_grad]
    return {
        "plain": lambda: plain(model, batch),
        "plain, accumulating": lambda: accumulating(model, batch),
        "lean": lambda: lean(model, head, batch),
        "pairs": lambda: pair_gram(model, forward, check=False),
        "full": lambda: batch_gram(model, forward, check=False),
        "directional": lambda: directional_derivatives(model, forward, [update], check=False),
        "one backward each": lambda: one_backward_each(model, batch),
        "vmap(grad)": lambda: vmap_grad(model, batch),
        "audit and pairs": lambda: pair_gram(model, forward, check=True),
    }


def measure(case: Case, *, pairs: int, only: tuple[str, ...], rounds: int) -> None:
    """Print one line per method, the unit first."""
    torch.manual_seed(0)
    model, batch = case.make(), random_pairs(case.vocabulary, pairs)
    methods = {name: run for name, run in methods_of(model, batch).items() if name in only}
    opacus = opacus_method(model, batch) if "opacus" in only and case.name == "GPT-2-like 10M" else None
    if opacus is not None:
        methods["opacus"] = opacus
    seconds = medians(methods, rounds=rounds)
    parameters = sum(p.numel() for p in model.parameters())
    for method, taken in seconds.items():
        row = {"model": case.name, "parameters": parameters, "pairs": pairs, "tokens": 128, "method": method}
        row |= {"ratio": taken / seconds["plain, accumulating"], "seconds": taken}
        if "lean" in seconds:
            row["ratio to lean"] = taken / seconds["lean"]
        if "one backward each" in seconds:
            row["ratio to pairs"] = taken / seconds["pairs"]
        if (only is ENGINE and method in MEMORY_OF) or method == "one backward each":
            row["peak megabytes"] = peak_elsewhere("--memory", case.name, method)
        print_json(row | about())


def main() -> None:
    """Measure every case in turn, or do one of the jobs of a process."""
    if sys.argv[1:2] == ["--memory"]:
        case = CASES[sys.argv[2]]
        torch.manual_seed(0)
        model, batch = case.make(), random_pairs(case.vocabulary, case.pairs)
        print(peak_of(methods_of(model, batch)[sys.argv[3]]))
    elif sys.argv[1:2] == ["--group"]:
        case, (methods, rounds) = CASES[sys.argv[2]], GROUPS[sys.argv[3]]
        measure(case, pairs=case.pairs, only=methods, rounds=rounds)
    elif sys.argv[1:2] == ["--full"]:
        methods = ("plain, accumulating", "lean", "pairs", "full")
        measure(CASES[sys.argv[2]], pairs=FULL_RESPONSES[sys.argv[2]] // 2, only=methods, rounds=5)
    else:
        jobs = [("--group", name, group) for group in GROUPS for name in CASES] + [
            ("--full", n) for n in FULL_RESPONSES
        ]
        for job in jobs:
            subprocess.run([sys.executable, "-W", "ignore", sys.argv[0], *job], check=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    run_script(main)
