"""Where the findings of a probed step go: the trainer's log, a file of rows, and whoever should be told."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from preflens.training.probe.alerts import Alert, Alerts
from preflens.training.probe.calibration import Calibration
from preflens.training.probe.metrics import calibration_metrics, finite_values, look_metrics
from preflens.training.probe.result import ProbeResult
from preflens.training.probe.table import ProbeTable, rows_of
from preflens.training.trainer_protocol import TrainerLike, log_metric
from preflens.types import SIDES

LOGGER = logging.getLogger("preflens")


class Recorder:
    """Records a run. Only the first process has one.

    Args:
        trainer: whose log takes the numbers.
        window: probed steps that calibration looks back on.
        alerts: what to watch for; None for nothing.
        numbers: row numbers of the training data, by the ids of pairs.
    """

    def __init__(self, trainer: TrainerLike, *, window: int, alerts: Alerts | None, numbers: Mapping[str, int]) -> None:
        self._trainer, self._numbers = trainer, numbers
        self._calibrations = {name: Calibration(window=window) for name in ("batch", "probe")}
        self._alerts = None if alerts is None else replace(alerts)
        self._rows = ProbeTable(Path(trainer.args.output_dir) / "preflens" / "probe.parquet")
        earlier = self._rows.set_aside_after(trainer.state.global_step)
        if earlier is not None:
            LOGGER.warning("Rows that the probe wrote in an earlier run here are kept in `%s`.", earlier)
        self._start = self._rows.first_held_out_logps()

    def record(self, step: int, results: Mapping[str, ProbeResult], *, overhead: float) -> list[Alert]:
        """Record a probed step.

        Args:
            step: the optimizer's step.
            results: complete ones: `batch`, and `probe` where there are held-out pairs.
            overhead: share of the other time of training that probing took so far.

        Returns:
            Alerts that are new.
        """
        if not results:
            return []
        metrics = {"overhead": overhead}
        for name, result in results.items():
            metrics |= look_metrics(result, prefix="" if name == "batch" else "probe_")
            _add(self._calibrations[name], result)
        watched = "probe" if "probe" in results else "batch"
        metrics |= calibration_metrics(self._calibrations[watched])
        for name, value in finite_values(metrics).items():
            log_metric(self._trainer, name, value)
        numbers = {"batch": self._numbers, "probe": {}}
        rows = [rows_of(result, step=step, name=name, numbers=numbers[name]) for name, result in results.items()]
        self._rows.write(step, [row for part in rows for row in part])
        if self._alerts is None or watched not in results:
            return []
        start = None
        if watched == "probe":
            ids = [pair.pair.id for pair in results["probe"].pairs]
            for name, logp in zip(ids, results["probe"].chosen_logp.tolist(), strict=True):
                self._start.setdefault(name, logp)
            start = sum(self._start[name] for name in ids) / len(ids)  # of the pairs that are looked at now
        return self._alerts.result(results[watched], self._calibrations[watched], start=start)


def _add(calibration: Calibration, result: ProbeResult) -> None:
    assert result.measured is not None
    for side in SIDES:
        if not result.tells(side):
            continue
        forecasts = {"plain": float(getattr(result.plain, side).mean())}
        if result.optimizer is not None:
            forecasts["optimizer"] = float(getattr(result.optimizer, side).mean())
        calibration.add(side, forecasts, float(getattr(result.measured, side).mean()))
