"""Run by two processes at once: trains with the probe, and says what it logged."""

import json
import sys
from pathlib import Path

import torch

from preflens.training.probe import PreflensCallback
from preflens.training.rows import Rows
from preflens.training.trainer import PreferenceTrainer
from tests.cases.training import make_trainer


def main(folder, size, how):
    torch.set_num_threads(1)
    callbacks = [PreflensCallback(every=1, max_overhead=None, probe_pairs=3)] if how == "probed" else []
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
        rows = Rows(Path(folder) / "preflens" / "probe.parquet").read().to_pylist()
        print("FOUND " + json.dumps({"weights": weights, "logs": logs, "rows": rows}))
    trainer.end()  # threads of a process group that is left open bring a process down at its exit, now and then


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
