"""Run by two processes at once: trains with the probe, and says what it logged. The probe may fail in one of them."""

import json
import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import torch

from preflens.training.probe import callback, trainer_adapter
from preflens.training.probe.callback import PreflensCallback
from preflens.training.probe.capture import BatchCapture
from preflens.training.probe.evaluator import PairEvaluator
from preflens.training.probe.recorder import Recorder
from preflens.training.probe.step_probe import StepProbe
from preflens.training.probe.table import ProbeTable
from preflens.training.trainer import PreferenceTrainer
from tests.cases.training import make_trainer

# Where the probe fails, by the name of the failure.
PLACES = {
    "begin": (trainer_adapter.PolicyScorer, "of"),
    "watch": (StepProbe, "begin"),
    "hook": (BatchCapture, "_head_input"),
    "before": (PairEvaluator, "predict"),
    "after": (PairEvaluator, "measure"),
    "pack": (callback, "pack_results"),
    "record": (Recorder, "record"),
    "tell": (callback, "send_alerts"),
}


def failing(*_, **__):
    raise MemoryError("in this process")


def run(folder, size, how):
    """`how` is `alone`, `probed`, `mitigated`, or `before 1`: a place and the process in which the probe fails."""
    logging.basicConfig(stream=sys.stdout, format=f"SAID {how}: %(message)s", force=True)
    place, _, number = how.partition(" ")
    fails = place in PLACES and os.environ["RANK"] == number
    probed = how == "probed" or place in PLACES
    callbacks = [PreflensCallback(every=1, max_overhead=None, probe_pairs=3)] if probed else []
    with patch.object(*PLACES[place], failing) if fails else nullcontext():
        trainer = make_trainer(
            folder,
            trainer=PreferenceTrainer,
            objective="dpo",
            mitigation="normalized" if how == "mitigated" else None,
            per_device_train_batch_size=size,
            max_steps=2,
            callbacks=callbacks,
        )
        trainer.train()
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        weights = [float(p.detach().double().sum()) for p in model.parameters()]
        logs = [log for log in trainer.state.log_history if "loss" in log]
        rows = ProbeTable(Path(folder) / "preflens" / "probe.parquet").read().to_pylist()
        print(f"FOUND {how}: " + json.dumps({"weights": weights, "logs": logs, "rows": rows}), flush=True)
    return trainer


def main(folder, size, *hows):
    """One run after the other in the same processes: starting them takes most of the time."""
    torch.set_num_threads(1)
    for number, how in enumerate(hows):
        trainer = run(f"{folder}/{number}", size, how)
    trainer.end()  # threads of a process group that is left open bring a process down at its exit, now and then


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
