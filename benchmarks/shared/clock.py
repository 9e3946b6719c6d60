"""Wall-clock medians of methods that take turns, and the peak memory of one call in a process of its own."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from statistics import median

import torch


def about() -> dict[str, object]:
    """Return what a number depends on, without the name of the machine."""
    packages = ("torch", "transformers", "peft")
    return {package: version(package) for package in packages} | {
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }


def medians(methods: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Time methods in turn, after one round that does not count.

    Args:
        methods: by name.
        rounds: that count.

    Returns:
        Median seconds of a call.
    """
    taken: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(rounds + 1):
        for name, run in methods.items():
            start = time.perf_counter()
            run()
            if number:
                taken[name].append(time.perf_counter() - start)
    return {name: median(times) for name, times in taken.items()}


def say(row: Mapping[str, object]) -> None:
    """Print one line of JSON."""
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


def peak_elsewhere(*arguments: str) -> float:
    """Run this script again with arguments, and read the megabytes it says it took.

    Args:
        *arguments: that make it print one number.

    Returns:
        Megabytes.
    """
    done = subprocess.run([sys.executable, sys.argv[0], *arguments], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def peak_of(run: Callable[[], object]) -> float:
    """Call a function once and return the megabytes by which resident memory peaked above where it was.

    Args:
        run: the function.

    Returns:
        Megabytes.
    """
    before = _status("VmRSS")
    run()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(field + ":"))
    return float(line.split()[1])
