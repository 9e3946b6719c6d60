"""`preflens compare` as a user calls it, on a tiny model; and a user's mistakes."""

import json
import os

import pyarrow.parquet as pq
import pytest

from preflens import OBJECTIVES, Comparison
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS
from tests.end_to_end.conftest import run_outside, write_rows

WRITTEN = {"compare.parquet", "compare_pairs.parquet", "compare_heldout.parquet", "compare.json", "compare.html"}


@pytest.fixture
def compare(preflens, place, tmp_path):
    """Run `compare` on the tiny model; arguments as keywords."""
    probe = write_rows(tmp_path / "probe.jsonl", PROBE_ROWS)

    def call(*flags, **changes):
        arguments = {"model": place / "model", "data": place / "pairs.jsonl", "probe": probe, "out": tmp_path / "out"}
        arguments |= {"horizon": "1,4", "update_batch_size": 2} | changes
        options = [o for name, value in arguments.items() if value is not None
                   for o in (f"--{name.replace('_', '-')}", value)]  # fmt: skip
        return preflens("compare", *options, *flags, "--no-progress")

    return call


def test_compare_writes_tables_facts_and_page_and_says_the_verdict(compare, tmp_path):
    code, out, err = compare("--grid", "dpo.beta=0.5,1", "--verify", "dpo", "--per-pair", learning_rate=1e-3)
    assert code == 0, err
    assert {p.name for p in (tmp_path / "out").iterdir()} == WRITTEN
    assert "the held-out chosen log-probs" in " ".join(out.replace("│", "").split())
    assert "compare.html" in out
    metadata = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert {o["name"] for o in metadata["objectives"]} == set(OBJECTIVES) - set(metadata["left_out"])
    assert metadata["command"].startswith("preflens compare --model ")
    assert [r["objective"] for r in metadata["real_steps"]] == ["dpo", "dpo:beta=0.5", "dpo:beta=1"]
    rows = pq.read_table(tmp_path / "out" / "compare.parquet")
    assert rows.num_rows == len(TEXT_ROWS) * len(metadata["objectives"])


def test_the_recorded_command_repeats_the_comparison(compare, preflens, tmp_path):
    import shlex

    compare(objectives="dpo,simpo:beta=2.5,gamma=1,slic", probe=None, probe_fraction=0.4, seed=2, limit=5)
    first = Comparison.load(tmp_path / "out")
    assert [o.label for o in first.metadata.objectives] == ["dpo", "simpo:beta=2.5", "slic"]
    code, _, err = preflens(*shlex.split(first.metadata.command)[1:])
    assert code == 0, err
    again = Comparison.load(tmp_path / "out")
    assert again.rows.equals(first.rows)
    assert again.metadata.objectives == first.metadata.objectives


def test_what_mitigations_would_change_stands_beside_the_plain_objectives(compare, tmp_path):
    code, out, err = compare("--mitigation", "normalized", "--mitigation", "cone:floor=0.2", objectives="dpo,slic")
    assert code == 0, err
    labels = [o.label for o in Comparison.load(tmp_path / "out").metadata.objectives]
    assert labels == [f"{name}{m}" for name in ("dpo", "slic") for m in ("", "+normalized", "+cone:floor=0.2")]
    assert "dpo+normalized" in out
    assert "slic+cone:floor=0.2" in (tmp_path / "out" / "compare.html").read_text()


def test_adapter_conversations_and_parameters(compare, place, tmp_path):
    code, _, err = compare(
        data=place / "chat.jsonl", probe=None, probe_fraction=0.3, adapter=place / "adapter", objectives="dpo,slic",
        micro_batch=1,
    )  # fmt: skip
    assert code == 0, err
    metadata = Comparison.load(tmp_path / "out").metadata
    assert (metadata.model.selection, metadata.model.reference) == ("lora", "adapter-copy")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objectives": "dpo,simp"}, "Unknown objective `simp`. Did you mean `simpo`"),
        ({"grid": "dpo.bet=1"}, "objective `dpo` has no parameter `bet`"),
        ({"grid": "dpo.beta=-1"}, "Parameter `beta` of objective `dpo` should be above 0. Found -1"),
        ({"grid": "dpo.beta="}, "`--grid dpo.beta=` is empty"),
        ({"reference": "none", "objectives": "dpo"}, "Objective `dpo` compares with a reference model"),
        ({"probe": "nothere.jsonl"}, "There is no file or folder `nothere.jsonl`"),
        ({"probe": None, "probe_fraction": 1.5}, "`--probe-fraction` should be above 0 and below 1. Found 1.5"),
        ({"horizon": "1,many"}, "`--horizon` should hold numbers of steps, like 1,10,100. Found `1,many`"),
        ({"horizon": "0"}, "each at least 1"),
        ({"verify": "nosuch"}, "`--verify nosuch` is none of the compared objectives"),
        ({"mitigation": "normalised"}, "Unknown mitigation `normalised`. Did you mean `normalized`"),
        ({"mitigation": "cone:flor=1"}, "Mitigation `cone` has no parameter `flor`. Did you mean `floor`?"),
        ({"mitigation": "splitting"}, "does more than change coefficients"),
        ({"micro_batch": "few"}, "`--micro-batch` should be `auto` or a number"),
    ],
)
def test_a_mistake_is_one_clear_line(compare, changes, words, tmp_path):
    code, _, err = compare(**changes)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "out" / "compare.json").exists()


def test_held_out_pairs_that_are_training_pairs_are_refused(compare, place):
    code, _, err = compare(probe=place / "pairs.jsonl")
    assert code == 2
    assert "All 6 pairs of `--probe` are training pairs" in err


def test_report_renders_a_finished_comparison_again_without_torch(compare, tmp_path):
    compare(objectives="dpo")
    page = (tmp_path / "out" / "compare.html").read_text()
    (tmp_path / "out" / "compare.html").unlink()
    (tmp_path / "fake").mkdir()
    for name in ("torch", "transformers", "datasets", "peft", "trl"):
        (tmp_path / "fake" / f"{name}.py").write_text("raise ImportError('this must not be loaded')")
    path = os.pathsep.join([str(tmp_path / "fake"), os.environ.get("PYTHONPATH", "")])
    done = run_outside("report", tmp_path / "out", env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "compare.html").read_text() == page
