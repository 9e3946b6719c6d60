"""Cost of a mitigated training step, as a ratio to the same trainer's step without the mitigation.

Every model is measured in a process of its own; `--case MODEL` is such a process, `--memory MODEL METHOD` one that
prints the peak memory of a few steps, everything that training holds included. `--only MODEL …` measures some.
"""

import logging
import subprocess
import sys
import warnings

import torch
from datasets import disable_progress_bars

from benchmarks.shared.clock import about, peak_elsewhere, peak_of, say
from benchmarks.shared.models import CASES, Case
from benchmarks.shared.training import make_trainer, step_seconds
from preflens.training import PreferenceTrainer

NAMES = ("GPT-2-like 45M", "GPT-2-like 124M", "LoRA r=16 on Llama-like 45M")
UNIT = "plain"
METHODS = {
    UNIT: None,
    "normalized": "normalized",
    "band": "band",
    "reward_calibration": "reward_calibration",
    "cone": "cone",
    "controlled": "controlled",
    "sparse_mask": "sparse_mask",
    "sparse_mask, lambda": "sparse_mask:kind=lambda",
}
STEPS, ROUNDS = 4, 5


def trainer_of(case: Case, mitigation: str | None) -> PreferenceTrainer:
    """Our trainer with DPO."""
    return make_trainer(
        case, PreferenceTrainer, pairs=case.pairs, steps=STEPS, objective="dpo", mitigation=mitigation
    )  # fmt: skip


def measure(case: Case) -> None:
    """Print a line for each method, the unit first."""
    trainers = {name: trainer_of(case, mitigation) for name, mitigation in METHODS.items()}
    seconds = step_seconds(trainers, rounds=ROUNDS)
    peaks = {name: peak_elsewhere("--memory", case.name, name) for name in METHODS}
    for name, taken in seconds.items():
        row = {"model": case.name, "pairs": case.pairs, "tokens": 128, "method": name}
        row |= {"ratio": taken / seconds[UNIT], "seconds": taken}
        row |= {"memory ratio": peaks[name] / peaks[UNIT], "peak megabytes": peaks[name]}
        say(row | about())


def main() -> None:
    """Measure every case in turn, or do the job of one process."""
    if sys.argv[1:2] == ["--memory"]:
        case, method = CASES[sys.argv[2]], METHODS[sys.argv[3]]
        print(peak_of(lambda: trainer_of(case, method).train()))
    elif sys.argv[1:2] == ["--case"]:
        measure(CASES[sys.argv[2]])
    else:
        for name in sys.argv[2:] if sys.argv[1:2] == ["--only"] else NAMES:
            subprocess.run([sys.executable, "-W", "ignore", sys.argv[0], "--case", name], check=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    disable_progress_bars()
    logging.disable(logging.WARNING)
    main()
