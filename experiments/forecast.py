"""Forecast and measurement on held-out pairs, for steps of TRL's DPO with AdamW, from its default learning rate up.

A small pretrained model, three data sets, three seeds; every step is probed. Rows are mean changes of chosen and of
rejected log-probs of fixed held-out pairs.
"""

import argparse
import copy
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from trl import DPOConfig, DPOTrainer

from benchmarks.shared.clock import about
from preflens import load_model, load_tokenizer, read_pairs
from preflens.agreement import agreement
from preflens.training import PreflensCallback
from preflens.training.probe.table import ProbeTable

DATA_SETS = ("polite_edits", "tweets_long", "pandalm_human")
DEFAULT, TEN_TIMES, MORE = 1e-6, 1e-5, (1e-4, 1e-3)  # TRL's default; rates beyond are run with the first seed only
STEPS, HELD_OUT, BATCH = 100, 8, 4


def plain_rows(path: Path, limit: int) -> list[dict[str, str]]:
    """Return pairs as texts."""
    pairs = read_pairs(path).pairs
    texts = [p for p in pairs if isinstance(p.chosen, str)] or pairs
    return [
        {"prompt": _text(p.prompt), "chosen": _text(p.chosen), "rejected": _text(p.rejected)} for p in texts[:limit]
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else "\n".join(message["content"] for message in value)


def run(name: str, learning_rate: float, seed: int, *, steps: int, root: Path) -> list[dict[str, float]]:
    """Train once, and return one row per step: forecasts and measured changes of chosen and rejected."""
    train, test = (
        plain_rows(root / "data" / "preference" / f"{name}.{part}.jsonl.gz", n)
        for part, n in (("train", 2000), ("test", HELD_OUT))
    )
    order = np.random.default_rng(seed).permutation(len(train))[: steps * BATCH]
    folder = str(root / "models" / "stories260k")
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    with tempfile.TemporaryDirectory() as out:
        args = DPOConfig(
            output_dir=out, use_cpu=True, bf16=False, report_to="none", max_steps=steps, seed=seed, logging_steps=steps,
            per_device_train_batch_size=BATCH, save_strategy="no", learning_rate=learning_rate, disable_tqdm=True,
            max_length=160, gradient_checkpointing=False,
        )  # fmt: skip
        trainer = DPOTrainer(
            model=model, ref_model=copy.deepcopy(model), args=args, processing_class=tokenizer,
            train_dataset=Dataset.from_list([train[i] for i in order]),
        )  # fmt: skip
        PreflensCallback(every=1, max_overhead=None, probe_pairs=test, alerts=None).attach(trainer)
        trainer.train()
        table = ProbeTable(Path(out) / "preflens" / "probe.parquet").read().to_pandas()
    held_out = table[table["set"] == "probe"].groupby("step").mean(numeric_only=True)
    columns = [
        f"{kind}_{side}"
        for kind in ("plain", "optimizer", "attribution", "measured")
        for side in ("chosen", "rejected")
    ]
    return held_out[columns].reset_index().to_dict("records")


def summary(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Compare each forecast with the measured changes, for the two sides together and apart."""
    found = {}
    for kind in ("plain", "optimizer", "persistence"):
        for sides in (("chosen",), ("rejected",), ("chosen", "rejected")):
            forecast, measured = [], []
            for side in sides:
                metadata = np.array([row[f"measured_{side}"] for row in rows])
                made = metadata[:-1] if kind == "persistence" else np.array([row[f"{kind}_{side}"] for row in rows])[1:]
                forecast.append(made)
                measured.append(metadata[1:])
            result = agreement(np.concatenate(forecast), np.concatenate(measured))
            measures = {"slope": result.slope, "r2": result.r2, "signs": result.signs}
            if None not in measures.values():
                found[f"{kind}, {' and '.join(sides)}"] = {k: round(v, 5) for k, v in measures.items()}
    return found


def main() -> None:
    """Run everything that has no result yet, with one line of JSON per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "forecast.jsonl")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", nargs="+", default=list(DATA_SETS))
    arguments = parser.parse_args()
    if "PREFLENS_REAL_DATA" not in os.environ:
        sys.exit("PREFLENS_REAL_DATA should name the folder with `data` and `models`.")
    root = Path(os.environ["PREFLENS_REAL_DATA"])
    disable_progress_bars()
    done = {tuple(json.loads(line)[k] for k in ("data", "learning rate", "seed")) for line in _lines(arguments.out)}
    for name in arguments.data:
        for learning_rate in (DEFAULT, TEN_TIMES, *MORE):
            for seed in arguments.seeds[: 1 if learning_rate in MORE else None]:
                if (name, learning_rate, seed) in done:
                    continue
                rows = run(name, learning_rate, seed, steps=arguments.steps, root=root)
                sums = {k: round(sum(row[k] for row in rows), 6) for k in rows[0] if k != "step"}
                line = {"data": name, "learning rate": learning_rate, "seed": seed, "steps": arguments.steps}
                line |= {"agreement": summary(rows), "sum over steps": sums} | about()
                with arguments.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(name, learning_rate, seed, line["agreement"].get("optimizer, chosen and rejected"), flush=True)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
