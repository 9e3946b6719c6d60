"""The wheel, installed without extras in a clean environment, runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=environment, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.wheel
def test_the_wheel_without_extras_runs_the_command_line(place, tmp_path):
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("preflens-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    binary = tmp_path / "venv" / "bin"
    run(binary / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel)
    installed = run(binary / "python", "-m", "pip", "list", "--format=freeze")
    assert not any(f"\n{extra}==" in installed for extra in ("trl", "peft", "accelerate", "pytest", "beartype"))
    assert "simpo" in run(binary / "preflens", "objectives")
    run(
        binary / "preflens", "analyze", "--model", place / "model", "--data", place / "pairs.jsonl",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert "Report:" in run(binary / "preflens", "report", tmp_path / "out")
