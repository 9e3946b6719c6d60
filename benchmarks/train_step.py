"""Cost of a training step: TRL's own, TRL's with the probe, and ours, as ratios to TRL's.

Every model is measured in a process of its own; `--case MODEL` is such a process, `--memory MODEL METHOD` one that
prints the peak memory of a few steps, everything that training holds included.
"""

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable

import torch
from datasets import disable_progress_bars
from trl import DPOTrainer

from benchmarks.shared.clock import about, peak_elsewhere, peak_of, say
from benchmarks.shared.models import CASES, Case
from benchmarks.shared.training import make_trainer, step_seconds
from preflens.training import PreferenceTrainer, PreflensCallback

NAMES = ("GPT-2-like 10M", "GPT-2-like 45M", "GPT-2-like 124M", "LoRA r=16 on Llama-like 45M")
UNIT = "TRL's step"
STEPS, ROUNDS = 3, 3


def _trl(case: Case) -> DPOTrainer:
    return make_trainer(case, DPOTrainer, pairs=case.pairs, steps=STEPS)


def _probed(case: Case) -> DPOTrainer:
    trainer = _trl(case)
    PreflensCallback(every=1, max_overhead=None, probe_pairs=0, alerts=None).attach(trainer)
    return trainer


def _ours(case: Case) -> DPOTrainer:
    return make_trainer(case, PreferenceTrainer, pairs=case.pairs, steps=STEPS, objective="dpo")


def _ours_with_geometry(case: Case) -> DPOTrainer:
    return make_trainer(case, PreferenceTrainer, pairs=case.pairs, steps=STEPS, objective="dpo", geometry_every=1)


METHODS: dict[str, Callable[[Case], DPOTrainer]] = {
    UNIT: _trl,
    "TRL's step, probed": _probed,
    "ours": _ours,
    "ours with pair Gram": _ours_with_geometry,
}


def measure(case: Case) -> None:
    """Print a line for each method, the unit first."""
    trainers = {name: make(case) for name, make in METHODS.items()}
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
        print(peak_of(lambda: method(case).train()))
    elif sys.argv[1:2] == ["--case"]:
        measure(CASES[sys.argv[2]])
    else:
        for name in NAMES:
            subprocess.run([sys.executable, "-W", "ignore", sys.argv[0], "--case", name], check=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    disable_progress_bars()
    logging.disable(logging.WARNING)
    main()
