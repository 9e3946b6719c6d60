"""Mitigations against plain DPO, DPOP and DPO with a likelihood term, compared where their held-out margins are equal.

All methods start from the same supervised checkpoint per seed: a tiny model on generated reviews with a long suffix,
and a small pretrained model on two data sets of tweets and edits. Every few steps the mean log-probs of fixed held-out
pairs are measured. A method is judged at the step at which its held-out margin has grown by a fixed number of nats.

`run` appends one line of JSON per run to `results/mitigations.jsonl` and skips existing runs. `table` prints the
tables.
"""

import argparse
import copy
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig, get_peft_model
from scipy import stats
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import DPOConfig

from benchmarks.shared.clock import about
from experiments.forecast import plain_rows
from preflens import load_model, load_tokenizer
from preflens.demo.synthetic_reviews import SUFFIXES, reviews
from preflens.demo.tiny_model import make_model, make_tokenizer, tokenize, train_language_model
from preflens.errors import NumericalError
from preflens.language_models.reading import pairs_in_memory
from preflens.language_models.tokenizing import tokenize_pairs
from preflens.training import PreferenceTrainer
from preflens.training.command.samples import greedy_samples

# Objective and mitigation of each method.
METHODS: dict[str, tuple[str, str | None]] = {
    "dpo": ("dpo", None),
    "dpop": ("dpop", None),
    "dpo+nll": ("rpo", None),
    "normalized": ("dpo", "normalized"),
    "normalized, shared scale": ("dpo", "normalized:scale=shared"),
    "band": ("dpo", "band"),
    "reward calibration": ("dpo", "reward_calibration"),
    "cone": ("dpo", "cone"),
    "controlled": ("dpo", "controlled"),
    "mask, exact": ("dpo", "sparse_mask"),
    "mask, learned": ("dpo", "sparse_mask:kind=learned"),
    "mask, contrast": ("dpo", "sparse_mask:kind=contrast"),
    "mask, lambda": ("dpo", "sparse_mask:kind=lambda"),
    "split, virtual": ("dpo", "splitting"),
    "split, sequential": ("dpo", "splitting:kind=sequential"),
}


@dataclass(frozen=True)
class Setting:
    """Training settings of a data set.

    Attributes:
        margin: nats of held-out margin at which methods are compared.
        steps: maximal number of steps.
        batch: pairs of an update.
        rates: learning rate by optimizer and by what is trained.
        longest: tokens of a row.
        sft_steps: updates on chosen responses before.
        every: steps between two measurements of the held-out pairs.
        dpop: factor on the learning rate of DPOP's plain steps: it multiplies the chosen coefficient by 1 + λ = 51
            wherever chosen is below the reference, and diverges at the rate of the others.
    """

    margin: float
    steps: int
    batch: int
    rates: dict[tuple[str, str], float]
    longest: int
    sft_steps: int
    every: int = 2
    dpop: float = 1 / 5


_TINY = {("sgd", "full"): 0.01, ("adamw", "full"): 1e-4, ("sgd", "lora"): 0.1, ("adamw", "lora"): 1e-3}
# Chosen so that plain DPO reaches the margin in ten to forty steps.
_EDITS = {("sgd", "full"): 1e-3, ("adamw", "full"): 2e-5, ("sgd", "lora"): 1e-2, ("adamw", "lora"): 2e-4}
# Gradients on tweets are large: at three times these rates plain steps of `cone` and `controlled` are not first-order.
_TWEETS = {("sgd", "full"): 0.015, ("adamw", "full"): 1e-4, ("sgd", "lora"): 0.15, ("adamw", "lora"): 1e-3}
SETTINGS = {
    "generated": Setting(2.0, 120, 16, _TINY, 64, 20),
    "polite_edits": Setting(1.0, 60, 8, _EDITS, 128, 40),
    "tweets_long": Setting(0.5, 60, 8, _TWEETS, 128, 40, every=4, dpop=1 / 25),
}
HELD_OUT, SAMPLES = 32, 8


class Curve(TrainerCallback):
    """Records mean held-out log-probs, and the share of pairs that changed as intended since the start."""

    def __init__(self, margin: float, every: int) -> None:
        self._margin, self._every = margin, every
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0

    def attach(self, trainer: PreferenceTrainer) -> None:
        """Record the held-out pairs of a trainer."""
        self._trainer = trainer
        self._batch = trainer.data_collator([trainer.eval_dataset[k] for k in range(len(trainer.eval_dataset))])
        trainer.add_callback(self)

    def on_train_begin(self, *_: object, **__: object) -> None:
        """Record the log-probs at the start."""
        self._start = self._measure()
        self._record(0)

    def on_step_begin(self, *_: object, **__: object) -> None:
        """Start the clock."""
        self._clock = time.process_time()

    def on_step_end(self, _: object, state: object, control: object, **__: object) -> None:
        """Stop the clock, record, and stop training where the margin is reached."""
        self.seconds += time.process_time() - self._clock
        if state.global_step % self._every == 0:
            self._record(state.global_step)
            control.should_training_stop = self.rows[-1]["chosen"] - self.rows[-1]["rejected"] >= self._margin

    def _measure(self) -> torch.Tensor:
        with torch.no_grad():
            return self._trainer.logps_of(self._batch).double()

    def _record(self, step: int) -> None:
        chosen, rejected = (self._measure() - self._start).chunk(2)
        intended = ((chosen > 0) & (rejected < 0)).double().mean()
        means = {"chosen": float(chosen.mean()), "rejected": float(rejected.mean()), "intended": float(intended)}
        self.rows.append({"step": step, "seconds": self.seconds, **means})


def at_margin(rows: list[dict[str, float]], margin: float) -> dict[str, float] | None:
    """Interpolate a curve to the step at which the margin has grown by `margin`; None if it never has."""
    for before, after in pairwise(rows):
        low, high = (row["chosen"] - row["rejected"] for row in (before, after))
        if high >= margin > low:
            share = (margin - low) / (high - low)
            return {k: round(before[k] + share * (after[k] - before[k]), 5) for k in before}
    return None


@lru_cache(maxsize=4)
def checkpoint(data: str, seed: int, root: Path | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list, list]:
    """Return a supervised model, its tokenizer, training rows and held-out rows."""
    setting, draw = SETTINGS[data], random.Random(seed)
    if data == "generated":
        tokenizer = make_tokenizer()
        model = make_model(tokenizer, seed=seed)
        train_language_model(
            model, tokenize(reviews(512, suffix=" .", draw=draw), tokenizer), steps=300, learning_rate=3e-3,
            on_prompts_too=True, draw=draw,
        )  # fmt: skip
        train, test = (reviews(n, suffix=SUFFIXES["long suffix"], draw=draw) for n in (512, HELD_OUT))
    else:
        assert root is not None
        folder = str(root / "models" / "stories260k")
        model, tokenizer = load_model(folder), load_tokenizer(folder)
        train, test = (
            plain_rows(root / "data" / "preference" / f"{data}.{part}.jsonl.gz", n)
            for part, n in (("train", 2000), ("test", HELD_OUT))
        )
        train = draw.sample(train, min(len(train), setting.batch * setting.steps))
    pairs = tokenize_pairs(pairs_in_memory(train).pairs, tokenizer, max_length=setting.longest).pairs
    train_language_model(
        model, pairs, steps=setting.sft_steps, learning_rate=1e-3, on_prompts_too=False, draw=draw
    )  # fmt: skip
    return model.eval(), tokenizer, train, test


def run(data: str, method: str, seed: int, *, optimizer: str, trained: str, root: Path | None) -> dict[str, object]:
    """Train once, until the margin or the last step."""
    setting = SETTINGS[data]
    start, tokenizer, train, test = checkpoint(data, seed, root)
    model = copy.deepcopy(start)
    reference = copy.deepcopy(model) if trained == "full" else None
    if trained == "lora":
        torch.manual_seed(seed)
        config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
    objective, mitigation = METHODS[method]
    rate = setting.rates[optimizer, trained] * (setting.dpop if method == "dpop" and optimizer == "sgd" else 1)
    with tempfile.TemporaryDirectory() as out:
        args = DPOConfig(
            output_dir=out, use_cpu=True, bf16=False, report_to="none", max_steps=setting.steps, seed=seed,
            per_device_train_batch_size=setting.batch, save_strategy="no", disable_tqdm=True, logging_steps=2,
            learning_rate=rate, lr_scheduler_type="constant", max_grad_norm=0,
            max_length=setting.longest, optim={"sgd": "sgd", "adamw": "adamw_torch"}[optimizer],
            gradient_checkpointing=False,
        )  # fmt: skip
        trainer = PreferenceTrainer(
            model=model, ref_model=reference, args=args, processing_class=tokenizer, objective=objective,
            mitigation=mitigation, train_dataset=Dataset.from_list(train), eval_dataset=Dataset.from_list(test),
        )  # fmt: skip
        curve = Curve(setting.margin, setting.every)
        curve.attach(trainer)
        diverged = False
        try:
            trainer.train()
        except NumericalError:
            diverged = True
        logs = [row for row in trainer.state.log_history if "loss" in row]
    pairs = tokenize_pairs(pairs_in_memory(test[:SAMPLES]).pairs, tokenizer, max_length=setting.longest).pairs
    samples = (
        []
        if diverged
        else greedy_samples(trainer.model.eval(), tokenizer, [p.prompt_ids for p in pairs], max_new_tokens=32)
    )
    names = sorted({k for row in logs for k in row if k.startswith("mitigation/")})
    return {
        "data": data, "method": method, "optimizer": optimizer, "trained": trained, "seed": seed,
        "learning rate": rate, "diverged": diverged, "margin": setting.margin,
        "at margin": at_margin(curve.rows, setting.margin), "last": curve.rows[-1],
        "logged": {k: round(float(np.mean([float(row[k]) for row in logs if k in row])), 5) for k in names},
        # Texts of real data sets stay where they are.
        "samples": [asdict(s) for s in samples[:2]] if data == "generated" else [],
        "ended": float(np.mean([s.ended for s in samples])) if samples else None,
        "repetition": float(np.mean([s.repetition for s in samples])) if samples else None,
    }  # fmt: skip


def interval(values: Iterable[float]) -> str:
    """Format the mean and the 95 % interval of Student's t over seeds."""
    sample = np.array(list(values), dtype=float)
    if len(sample) == 0:
        return ""
    if len(sample) < 2:
        return f"{sample.mean():+.2f}"
    half = stats.t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return f"{sample.mean():+.2f} ± {half:.2f}"


def over_dpo(of_method: list[dict], rows: list[dict]) -> list[float]:
    """Return how much higher chosen ends than under DPO from the same checkpoint, for seeds where both reached it."""
    plain = {x["seed"]: x["at margin"]["chosen"] for x in rows if x["method"] == "dpo" and x["at margin"]}
    return [x["at margin"]["chosen"] - plain[x["seed"]] for x in of_method if x["at margin"] and x["seed"] in plain]


def table(lines: list[dict]) -> str:
    """Return one table per data set, optimizer and kind of training."""
    texts = []
    groups = dict.fromkeys((x["data"], x["optimizer"], x["trained"]) for x in lines)
    for group in groups:
        rows = [x for x in lines if (x["data"], x["optimizer"], x["trained"]) == group]
        seeds = len({x["seed"] for x in rows})
        optimizer = {"sgd": "SGD", "adamw": "AdamW"}[group[1]]
        title = f"{group[0]}, {optimizer}, {group[2]}, at {rows[0]['margin']:g} nats of margin, seeds: {seeds}"
        texts.append(f"\n### {title}\n")
        texts.append("| method | reached | chosen | over dpo | rejected | intended | steps | CPU s | repetition |")
        texts.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
        for method in METHODS:
            of_method = [x for x in rows if x["method"] == method]
            reached = [x["at margin"] for x in of_method if x["at margin"]]
            if of_method and reached:
                cells = [interval(x[k] for x in reached) for k in ("chosen", "rejected", "intended")]
                cells.insert(1, interval(over_dpo(of_method, rows)) if method != "dpo" else "")
                means = [f"{np.mean([x[k] for x in reached]):.1f}" for k in ("step", "seconds")]
                repetition = f"{np.mean([x['repetition'] for x in of_method if x['repetition'] is not None]):.2f}"
                texts.append(
                    f"| {' | '.join([method, f'{len(reached)}/{len(of_method)}', *cells, *means, repetition])} |"
                )
            elif of_method:
                texts.append(f"| {method} | 0/{len(of_method)} | | | | | | | |")
    return "\n".join(texts)


def main() -> None:
    """Run what has no result yet, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "mitigations.jsonl")
    parser.add_argument("--data", nargs="+", default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--optimizers", nargs="+", default=["sgd", "adamw"])
    parser.add_argument("--trained", nargs="+", default=["full", "lora"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    arguments = parser.parse_args()
    lines = (
        [json.loads(x) for x in arguments.out.read_text(encoding="utf-8").splitlines()]
        if arguments.out.exists()
        else []
    )
    if arguments.what == "table":
        print(table(lines))
        return
    root = Path(os.environ["PREFLENS_REAL_DATA"]) if "PREFLENS_REAL_DATA" in os.environ else None
    if root is None and arguments.data != ["generated"]:
        sys.exit("PREFLENS_REAL_DATA should name the folder with `data` and `models`, or pass `--data generated`.")
    disable_progress_bars()
    done = {tuple(x[k] for k in ("data", "optimizer", "trained", "seed", "method")) for x in lines}
    runs = product(arguments.data, arguments.trained, arguments.optimizers, arguments.seeds, arguments.methods)
    for data, trained, optimizer, seed, method in runs:
        if (data, optimizer, trained, seed, method) in done:
            continue
        line = run(data, method, seed, optimizer=optimizer, trained=trained, root=root) | about()
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(data, optimizer, trained, seed, method, line["at margin"] or line["last"], flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
