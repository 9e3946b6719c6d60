"""Cost of a mitigated training step, as a ratio to the same trainer's step without the mitigation."""

from functools import partial

from benchmarks.shared.clock import run_script
from benchmarks.shared.models import Case
from benchmarks.shared.steps import Methods, run_cases
from benchmarks.shared.training import make_trainer
from preflens.training import PreferenceTrainer

NAMES = ("GPT-2-like 45M", "GPT-2-like 124M", "LoRA r=16 on Llama-like 45M")
UNIT = "plain"
# One of each kind: of single pairs, of batches, of tokens. `band` costs what `normalized` does, `reward_calibration`
# what `cone` does. All trainers stand in memory together.
MITIGATIONS = ("normalized", "cone", "controlled", "sparse_mask", "sparse_mask:kind=lambda")
STEPS, ROUNDS = 3, 3


def _ours(case: Case, mitigation: str | None) -> PreferenceTrainer:
    return make_trainer(
        case, PreferenceTrainer, pairs=case.pairs, steps=STEPS, objective="dpo", mitigation=mitigation
    )  # fmt: skip


METHODS: Methods = {UNIT: partial(_ours, mitigation=None)} | {m: partial(_ours, mitigation=m) for m in MITIGATIONS}

if __name__ == "__main__":
    run_script(partial(run_cases, NAMES, METHODS, unit=UNIT, rounds=ROUNDS))
