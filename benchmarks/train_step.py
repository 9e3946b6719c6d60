"""Cost of a training step: TRL's own, TRL's with the probe, and ours, as ratios to the first."""

from functools import partial

from trl import DPOTrainer

from benchmarks.shared.clock import run_script
from benchmarks.shared.models import Case
from benchmarks.shared.steps import Methods, run_cases
from benchmarks.shared.training import make_trainer
from preflens.training import PreferenceTrainer, PreflensCallback

NAMES = ("GPT-2-like 10M", "GPT-2-like 45M", "GPT-2-like 124M", "LoRA r=16 on Llama-like 45M")
UNIT = "TRL's step"
STEPS, ROUNDS = 3, 3


def _trl(case: Case) -> DPOTrainer:
    return make_trainer(case, DPOTrainer, pairs=case.pairs, steps=STEPS)


def _probed(case: Case) -> DPOTrainer:
    trainer = _trl(case)
    PreflensCallback(every=1, max_overhead=None, probe_pairs=0, alerts=None).attach(trainer)
    return trainer


def _ours(case: Case) -> DPOTrainer:
    return make_trainer(case, PreferenceTrainer, pairs=case.pairs, steps=STEPS, objective="dpo")


def _ours_with_geometry(case: Case) -> DPOTrainer:
    return make_trainer(case, PreferenceTrainer, pairs=case.pairs, steps=STEPS, objective="dpo", geometry_every=1)


METHODS: Methods = {
    UNIT: _trl,
    "TRL's step, probed": _probed,
    "ours": _ours,
    "ours with pair Gram": _ours_with_geometry,
}

if __name__ == "__main__":
    run_script(partial(run_cases, NAMES, METHODS, unit=UNIT, rounds=ROUNDS))
