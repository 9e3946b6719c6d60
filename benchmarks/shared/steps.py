"""Time and memory of the steps of several trainers, as ratios to one of them."""

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from datasets import disable_progress_bars
from trl import DPOTrainer

from benchmarks.shared.clock import about, peak_elsewhere, peak_of, print_json
from benchmarks.shared.models import CASES, Case
from benchmarks.shared.training import TOKENS, step_seconds

Methods = Mapping[str, Callable[[Case], DPOTrainer]]  # make a trainer


def measure_methods(case: Case, methods: Methods, *, unit: str, rounds: int) -> None:
    """Print one line per method: time per step and peak memory of a run, as ratios to those of the unit.

    Args:
        case: which model.
        methods: make a trainer, by name.
        unit: one of them.
        rounds: timed rounds.
    """
    seconds = step_seconds({name: make(case) for name, make in methods.items()}, rounds=rounds)
    peaks = {name: peak_elsewhere("--memory", case.name, name) for name in methods}
    for name, taken in seconds.items():
        row = {"model": case.name, "pairs": case.pairs, "tokens": TOKENS, "method": name}
        row |= {"ratio": taken / seconds[unit], "seconds": taken}
        print_json(row | {"memory ratio": peaks[name] / peaks[unit], "peak megabytes": peaks[name]} | about())


def run_cases(names: Sequence[str], methods: Methods, *, unit: str, rounds: int) -> None:
    """Measure models one after the other, each in its own process, or do the job of such a process.

    `--case MODEL` is such a process. `--memory MODEL METHOD` prints the peak memory of a few steps, with everything
    that training allocates. `--only MODEL …` measures some of the models.

    Args:
        names: of the cases.
        methods: make a trainer, by name.
        unit: one of them.
        rounds: timed rounds.
    """
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    disable_progress_bars()
    logging.disable(logging.WARNING)
    job, arguments = sys.argv[1:2], sys.argv[2:]
    if job == ["--memory"]:
        case, make = CASES[arguments[0]], methods[arguments[1]]
        print(peak_of(lambda: make(case).train()))
    elif job == ["--case"]:
        measure_methods(CASES[arguments[0]], methods, unit=unit, rounds=rounds)
    else:
        for name in arguments if job == ["--only"] else names:
            command = [sys.executable, "-W", "ignore", sys.argv[0], "--case", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            for line in done.stdout.splitlines():
                if line.startswith('{"model"'):  # skip what a trainer prints
                    print(line, flush=True)
