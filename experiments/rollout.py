"""First steps and rollouts of objectives against a hundred real steps, over held-out pairs of three data sets.

A small pretrained model takes plain steps on real pairs, and its weights are restored: one small step from the same
weights, and steps of two sizes over the horizon. Each is compared with the prediction from the geometry at the start.
"""

import argparse
import json
import os
import sys
from itertools import product
from pathlib import Path

import torch

from benchmarks.shared.clock import about
from preflens import (
    ComparisonOptions,
    DataOptions,
    RunOptions,
    StepOptions,
    compare,
    load_model,
    load_tokenizer,
    read_pairs,
)
from preflens.records.comparison_metadata import RealSteps

# At these learning rates the mean margin of the followed training pairs would grow by one nat in a hundred steps, at
# the pace of the first. Times one is a careful run, times ten one that goes far.
RATES = {
    ("polite_edits", "dpo"): 1.08e-5,
    ("polite_edits", "slic"): 8.77e-7,
    ("tweets_long", "dpo"): 2.65e-5,
    ("tweets_long", "slic"): 5.75e-7,
    ("pandalm_human", "dpo"): 4.69e-6,
    ("pandalm_human", "slic"): 7.05e-7,
}
GAINS = (1.0, 10.0)
HORIZON = (1, 2, 5, 10, 20, 50, 100)
TRAINING, HELD_OUT, FOLLOWED, BATCH, TOKENS = 48, 24, 16, 4, 128


def run(name: str, objective: str, gain: float, root: Path) -> RealSteps:
    """Compare forecasts with real steps of an objective on one data set."""
    folder, place = str(root / "models" / "stories260k"), root / "data" / "preference"
    held_out = read_pairs(place / f"{name}.test.jsonl.gz").pairs[:HELD_OUT]
    found = compare(
        load_model(folder, device="cpu"), load_tokenizer(folder), read_pairs(place / f"{name}.train.jsonl.gz"),
        objectives=[objective], held_out=held_out, data=DataOptions(limit=TRAINING, max_length=TOKENS),
        step=StepOptions(
            trainable="all", learning_rate=gain * RATES[name, objective], update_batch_size=BATCH
        ),
        comparison=ComparisonOptions(verify_objectives=[objective], rollout_pairs=FOLLOWED, horizon=HORIZON),
        run=RunOptions(progress=False),
    )  # fmt: skip
    return found.metadata.real_steps[0]


def line_of(name: str, gain: float, real: RealSteps) -> dict[str, object]:
    """Return the result of one objective as a line."""
    (check,) = (c for c in real.rollouts if c.scale == "learning rate")
    return {
        "data": name, "margin gain": gain, "objective": real.objective,
        "small steps": [[s.r2_chosen, s.r2_rejected, s.r2_margin] for s in real.small],
        "learning rate": check.learning_rate, "steps": check.steps, "error": check.error,
        "chosen": check.chosen_measured, "rejected": check.rejected_measured,
        "within ten percent": check.within_ten_percent, "diverged": check.diverged,
    }  # fmt: skip


def main() -> None:
    """Run what has no result yet, with one line of JSON per objective, data set and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "rollout.jsonl")
    arguments = parser.parse_args()
    if "PREFLENS_REAL_DATA" not in os.environ:
        sys.exit("PREFLENS_REAL_DATA should name the folder with `data` and `models`.")
    results = arguments.out.read_text(encoding="utf-8").splitlines() if arguments.out.exists() else []
    done = {(line["data"], line["objective"], line["margin gain"]) for line in map(json.loads, results)}
    for (name, objective), gain in product(RATES, GAINS):
        if (name, objective, gain) in done:
            continue
        real = run(name, objective, gain, Path(os.environ["PREFLENS_REAL_DATA"]))
        line = line_of(name, gain, real) | about()
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print({k: line[k] for k in ("data", "margin gain", "objective", "within ten percent")}, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
