"""Change one line of the package at a time, and see whether the tests that should notice do.

`python -m tests.mutants [NAME ...] [--jobs 2]` takes the mutants of `mutants.toml`, all of them by default. Each is one
replaced piece of text, in a copy of the project. It is killed when one of its tests fails. One that no longer applies,
or whose tests do not run, is an error; so are tests that fail without any change, since they would kill anything. Not
part of `make test`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("src/preflens")
LIST = Path(__file__).with_name("mutants.toml")
FOLDERS = ("src", "tests", "docs", "experiments", "benchmarks")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "CITATION.cff")
PASSED, FAILED = 0, 1  # exit statuses of pytest; any other says that tests did not run
_FAILURE = re.compile("^(FAILED|ERROR) ", re.MULTILINE)  # pytest also ends with 1 where it fails itself
PATIENCE = 300  # seconds for the tests of one mutant


@dataclass(frozen=True)
class Mutant:
    """One change that tests must notice.

    Attributes:
        name: for the command line.
        file: below the package.
        old: text that stands there once.
        new: what replaces it.
        tests: pytest's arguments: those that should fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self) -> str:
        """Return the changed file; a `ValueError` where the text does not stand there exactly once."""
        text = (ROOT / PACKAGE / self.file).read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"its text stands {count} times in {self.file}, and should once")
        return text.replace(self.old, self.new)


def read_mutants() -> list[Mutant]:
    """Read the list; names must differ."""
    entries = tomllib.loads(LIST.read_text(encoding="utf-8"))["mutant"]
    found = [Mutant(**entry | {"tests": tuple(entry["tests"])}) for entry in entries]
    names = [mutant.name for mutant in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"names that stand twice in {LIST.name}: {', '.join(sorted(twice))}")
    return found


class Copies:
    """Copies of the project, one for every mutant that is tested at the same time; what Python compiles there stays."""

    def __init__(self, folder: Path, count: int) -> None:
        self._free: Queue[Path] = Queue()
        for number in range(count):
            copy = folder / str(number)
            for part in FOLDERS:
                shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            for part in FILES:
                shutil.copy2(ROOT / part, copy / part)
            self._free.put(copy)

    def outcome(self, mutant: Mutant) -> str:
        """Run a mutant's tests on a copy with its change: `killed`, `SURVIVED`, or what is wrong with it."""
        try:
            changed = mutant.applied()
        except (ValueError, OSError) as error:
            return f"ERROR: {error}"
        status, said = self._tested(mutant.tests, PACKAGE / mutant.file, changed)
        if status == FAILED and _FAILURE.search(said):
            return "killed"
        return "SURVIVED" if status == PASSED else f"ERROR: its tests did not run: {said}"

    def unchanged(self, mutants: list[Mutant]) -> str:
        """Run all tests of some mutants on a copy without any change, where they should pass."""
        tests = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
        status, said = self._tested(tests)
        return "pass" if status == PASSED else f"ERROR: they fail: {said}"

    def _tested(self, tests: tuple[str, ...], file: Path | None = None, text: str = "") -> tuple[int | None, str]:
        """Run tests with a file changed; return pytest's status (None: too slow) and what it says last."""
        copy = self._free.get()
        options = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={copy}/temporary"]
        environment = os.environ | {"PYTHONPATH": f"{copy / 'src'}:{copy}", "PYTHONDONTWRITEBYTECODE": ""}
        try:
            if file is not None:
                (copy / file).write_text(text, encoding="utf-8")
            patience = None if file is None else PATIENCE
            run = subprocess.run(
                [sys.executable, "-m", "pytest", *options, *tests], cwd=copy, env=environment, capture_output=True,
                text=True, check=False, timeout=patience,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None, f"not ended after {PATIENCE} s"
        finally:
            if file is not None:
                shutil.copy2(ROOT / file, copy / file)
            self._free.put(copy)
        return run.returncode, (run.stdout or run.stderr)[-1000:]


def main() -> int:
    """Run the mutants that were asked for; 0 where all were killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="all mutants by default")
    parser.add_argument("--jobs", type=int, default=2, help="mutants that are tested at the same time")
    given = parser.parse_args()
    known = read_mutants()
    if strangers := set(given.names) - {mutant.name for mutant in known}:
        parser.error(f"no mutant has the name {', '.join(sorted(strangers))}")
    chosen = [mutant for mutant in known if not given.names or mutant.name in given.names]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        copies, killed = Copies(Path(folder), given.jobs), 0
        plain, outcomes = pool.submit(copies.unchanged, chosen), pool.map(copies.outcome, chosen)
        for mutant, result in zip(chosen, outcomes, strict=True):
            killed += result == "killed"
            print(f"{result:9} {mutant.name}", flush=True)
        print(f"{killed} of {len(chosen)} mutants killed. Their tests without any change: {plain.result()}.")
    return 0 if killed == len(chosen) and plain.result() == "pass" else 1


if __name__ == "__main__":
    sys.exit(main())
