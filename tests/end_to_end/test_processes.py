"""Two processes with gloo train and probe as one process does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from preflens.training import PreferenceTrainer
from tests.cases.training import make_trainer


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


ROOT = Path(__file__).parents[2]
# Where the probe fails, and in which process.
PLACES = ["begin 1", "watch 1", "hook 0", "before 1", "after 0", "pack 1", "record 0"]


def runs(folder, *hows, processes):
    size = 2 // processes  # pairs a process, so that the batch of a step is the same
    launch = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    command = [*launch, "--master_port", str(free_port()), "-m", "tests.cases.two_processes", str(folder), str(size)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *hows], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.splitlines()
    found = dict(line.removeprefix("FOUND ").split(": ", 1) for line in said if line.startswith("FOUND "))
    return {
        how: json.loads(found[how]) | {"said": [line for line in said if line.startswith(f"SAID {how}: ")]}
        for how in hows
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    one = runs(folder / "one", "probed", processes=1)
    two = runs(folder / "two", "probed", "alone", "mitigated", *PLACES, processes=2)
    return two | {"one": one["probed"], "two": two["probed"], "two, not probed": two["alone"]}


def test_probing_changes_no_weight_in_either_process(found):
    assert found["two"]["weights"] == found["two, not probed"]["weights"]


def test_two_processes_find_what_one_finds(found):
    rows = [sorted(f["rows"], key=lambda r: (r["step"], r["set"], r["id"])) for f in (found["one"], found["two"])]
    assert len(rows[0]) == len(rows[1]) == 2 * (2 + 3)
    for one, two in zip(*rows, strict=True):
        assert (one["step"], one["set"], one["id"], one["outcome"]) == (
            two["step"],
            two["set"],
            two["id"],
            two["outcome"],
        )
        for name in ("optimizer_chosen", "measured_rejected", "inner_product", "plain_chosen", "chosen_coefficient"):
            assert one[name] == pytest.approx(two[name], rel=2e-3, abs=1e-5), name


def test_logs_agree_too(found):
    for one, two in zip(found["one"]["logs"], found["two"]["logs"], strict=True):
        for name in (
            "loss",
            "preflens/measured_chosen",
            "preflens/probe_measured_chosen",
            "preflens/probe_optimizer_rejected",
        ):
            assert float(one[name]) == pytest.approx(float(two[name]), rel=2e-3, abs=1e-5), name


@pytest.mark.parametrize("place", PLACES)
def test_where_one_process_fails_all_switch_the_probe_off_and_train_on(place, found):
    """Within a time limit: no process waits for another one."""
    failed = found[place]
    assert failed["weights"] == found["two, not probed"]["weights"]
    assert failed["rows"] == []
    causes = sorted("MemoryError: in this process" in said for said in failed["said"] if "The probe is off" in said)
    assert causes == [False, True]


def test_mitigated_steps_of_two_processes_are_those_of_one(found, tmp_path):
    """Two processes take passes of their own for the geometry; one keeps books of its backward pass."""
    one = make_trainer(
        tmp_path / "one", trainer=PreferenceTrainer, objective="dpo", mitigation="normalized", max_steps=2
    )
    one.train()
    sums = [float(p.detach().double().sum()) for p in one.model.parameters()]
    assert sums == pytest.approx(found["mitigated"]["weights"], rel=1e-4, abs=1e-5)
