"""Wall-clock medians of methods that run in turn, peak memory of one call, and both over several fresh processes."""

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
    """Return versions, threads, cores and type of machine, on which a number depends."""
    packages = ("torch", "transformers", "peft")
    return {package: version(package) for package in packages} | {
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }


def medians(methods: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Time methods in turn, after a warm-up round.

    Args:
        methods: by name.
        rounds: number of timed rounds.

    Returns:
        Median seconds per call.
    """
    times: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(rounds + 1):
        for name, run in methods.items():
            start = time.perf_counter()
            run()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def print_json(row: Mapping[str, object]) -> None:
    """Print one line of JSON."""
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


def run_script(main: Callable[[], None]) -> None:
    """Run a benchmark, or with `--processes N` run it in N fresh processes and print their merged lines.

    A ratio varies little within a process and more between processes, which differ in memory layout and in the load of
    the machine. So a claim needs several processes.

    Args:
        main: prints lines with `print_json`.
    """
    if "--processes" not in sys.argv:
        main()
        return
    place = sys.argv.index("--processes")
    count, rest = int(sys.argv[place + 1]), [*sys.argv[1:place], *sys.argv[place + 2 :]]
    for row in merged([_lines_of_a_process(rest) for _ in range(count)]):
        print_json(row)


def merged(runs: Sequence[Sequence[Mapping[str, object]]]) -> list[dict[str, object]]:
    """Merge the lines of several runs of one script.

    Args:
        runs: lines of each, in the same order. Floats are measurements, everything else identifies the line.

    Returns:
        One row per line: the median of each measurement, and its `least` and `most`.

    Raises:
        ValueError: the lines do not identify the same measurements.
    """
    merged_rows = []
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
                    "Lines of several processes should agree in everything that is not a float. "
                    f"Found `{key}`: {values}."
                )
        merged_rows.append(row | {"processes": len(rows)})
    return merged_rows


def _lines_of_a_process(arguments: Sequence[str]) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", sys.argv[0], *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    print(done.stdout, end="", file=sys.stderr, flush=True)  # shows progress, and keeps the lines if an error follows
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def peak_elsewhere(*arguments: str) -> float:
    """Run this script again with arguments, and return the peak memory that it prints.

    Args:
        *arguments: with which the script prints one number.

    Returns:
        Megabytes.
    """
    done = subprocess.run([sys.executable, sys.argv[0], *arguments], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def peak_of(run: Callable[[], object]) -> float:
    """Call a function once and return the peak of resident memory above its value before the call.

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
