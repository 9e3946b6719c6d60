"""Wall-clock medians of methods that take turns, peak memory of one call, and both over several fresh processes."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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


def run_script(main: Callable[[], None]) -> None:
    """Run a benchmark, or with `--processes N` run it in N fresh processes and print what they found together.

    Within a process a ratio hardly moves; from process to process it does, by where memory happens to lie and by what
    else the machine does. So a claim needs several.

    Args:
        main: prints lines with `say`.
    """
    if "--processes" not in sys.argv:
        main()
        return
    place = sys.argv.index("--processes")
    count, rest = int(sys.argv[place + 1]), [*sys.argv[1:place], *sys.argv[place + 2 :]]
    for row in merged([_lines_of_a_process(rest) for _ in range(count)]):
        say(row)


def merged(runs: Sequence[Sequence[Mapping[str, object]]]) -> list[dict[str, object]]:
    """Put the lines of several runs of one script together.

    Args:
        runs: lines of each, in the same order; a number with a fraction was measured, everything else says what it is.

    Returns:
        One line each: the median of what was measured, and its `least` and `most`.

    Raises:
        ValueError: the lines are not about the same things.
    """
    found = []
    for rows in zip(*runs, strict=True):
        row: dict[str, object] = {}
        for key, first in rows[0].items():
            values = [r.get(key) for r in rows]
            numbers = [v for v in values if isinstance(v, float)]
            if len(numbers) == len(rows):
                row |= {key: median(numbers), f"{key}, least": min(numbers), f"{key}, most": max(numbers)}
            elif values == len(rows) * [first]:
                row[key] = first
            else:
                raise ValueError(
                    f"Lines of several processes should be about the same things. Found `{key}`: {values}."
                )
        found.append(row | {"processes": len(rows)})
    return found


def _lines_of_a_process(arguments: Sequence[str]) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", sys.argv[0], *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    print(done.stdout, end="", file=sys.stderr, flush=True)  # a long run can be watched, and is not lost at an error
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


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
