"""First steps and rollouts of objectives against a hundred real steps, over held-out pairs of three data sets.

A small pretrained model takes plain steps on real pairs, and is put back: one small step from fresh weights, and steps
of two sizes over the horizon, each beside what the geometry at the start had said.
"""

import argparse
import json
import os
import sys
from itertools import product
from pathlib import Path

import torch

from benchmarks.shared.clock import about
from preflens import compare, load_model, load_tokenizer, read_pairs
from preflens.records.comparison_facts import RealSteps

DATA_SETS = ("polite_edits", "tweets_long", "pandalm_human")
OBJECTIVES = ("dpo", "slic")
# Nats that the mean training margin is to gain by the last step: a careful run, and one that goes far.
GAINS = (1.0, 10.0)
HORIZON = (1, 2, 5, 10, 20, 50, 100)
TRAINING, HELD_OUT, FOLLOWED, BATCH, TOKENS = 48, 24, 16, 4, 128


def run(name: str, gain: float, root: Path) -> list[RealSteps]:
    """Compare forecasts with real steps on one data set."""
    folder, place = str(root / "models" / "stories260k"), root / "data" / "preference"
    held_out = read_pairs(place / f"{name}.test.jsonl.gz").pairs[:HELD_OUT]
    found = compare(
        load_model(folder, device="cpu"), load_tokenizer(folder), read_pairs(place / f"{name}.train.jsonl.gz"),
        objectives=OBJECTIVES, verify=OBJECTIVES, probe=held_out, limit=TRAINING, update_batch_size=BATCH,
        rollout_pairs=FOLLOWED, parameters="all", horizon=HORIZON, margin_gain=gain, max_length=TOKENS, progress=False,
    )  # fmt: skip
    return list(found.facts.real_steps)


def line_of(name: str, gain: float, real: RealSteps) -> dict[str, object]:
    """What is kept of an objective."""
    (check,) = (c for c in real.rollouts if c.scale == "equal margin")
    return {
        "data": name, "margin gain": gain, "objective": real.objective,
        "small steps": [[s.r2_chosen, s.r2_rejected, s.r2_margin] for s in real.small],
        "learning rate": check.learning_rate, "steps": check.steps, "error": check.error,
        "chosen": check.chosen_fact, "rejected": check.rejected_fact, "within ten percent": check.within_ten_percent,
        "diverged": check.diverged,
    }  # fmt: skip


def main() -> None:
    """Run what is not there yet, one line of JSON an objective, data set and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "rollout.jsonl")
    arguments = parser.parse_args()
    if "PREFLENS_REAL_DATA" not in os.environ:
        sys.exit("PREFLENS_REAL_DATA should name the folder with `data` and `models`.")
    there = arguments.out.read_text(encoding="utf-8").splitlines() if arguments.out.exists() else []
    done = {(line["data"], line["margin gain"]) for line in map(json.loads, there)}
    for name, gain in product(DATA_SETS, GAINS):
        if (name, gain) in done:
            continue
        for real in run(name, gain, Path(os.environ["PREFLENS_REAL_DATA"])):
            line = line_of(name, gain, real) | about()
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print({k: line[k] for k in ("data", "margin gain", "objective", "within ten percent")}, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
