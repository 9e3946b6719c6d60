"""Record a probed step: metrics to the trainer's log, rows to a table, and alerts."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from preflens.training.probe.alerts import Alert, Alerts
from preflens.training.probe.calibration import Calibration
from preflens.training.probe.metrics import calibration_metrics, finite_values, result_metrics
from preflens.training.probe.result import ProbeResult
from preflens.training.probe.table import ProbeTable, rows_of
from preflens.training.trainer_protocol import TrainerLike, log_metric
from preflens.types import SIDES

LOGGER = logging.getLogger("preflens")


class Recorder:
    """Records the probed steps of a run. Only the first process has one.

    Args:
        trainer: whose log gets the metrics.
        window: probed steps that calibration uses.
        alerts: thresholds; None for no alerts.
        numbers: row numbers in the training data, by pair id.
    """

    def __init__(self, trainer: TrainerLike, *, window: int, alerts: Alerts | None, numbers: Mapping[str, int]) -> None:
        self._trainer, self._numbers = trainer, numbers
        self._calibrations = {name: Calibration(window=window) for name in ("batch", "probe")}
        self._alerts = None if alerts is None else replace(alerts)
        self._table = ProbeTable(Path(trainer.args.output_dir) / "preflens" / "probe.parquet")
        earlier = self._table.set_aside_after(trainer.state.global_step)
        if earlier is not None:
            LOGGER.warning("Rows that the probe wrote in an earlier run here are kept in `%s`.", earlier)
        self._start = self._table.first_held_out_logps()

    def record(self, step: int, results: Mapping[str, ProbeResult], *, overhead: float) -> list[Alert]:
        """Record a probed step.

        Args:
            step: the optimizer's step.
            results: complete: `batch`, and `probe` where there are held-out pairs.
            overhead: time for probing so far as a share of all other training time.

        Returns:
            New alerts.
        """
        if not results:
            return []
        metrics = {"overhead": overhead}
        for name, result in results.items():
            metrics |= result_metrics(result, prefix="" if name == "batch" else "probe_")
            _add_step(self._calibrations[name], result)
        primary = "probe" if "probe" in results else "batch"
        metrics |= calibration_metrics(self._calibrations[primary])
        for name, value in finite_values(metrics).items():
            log_metric(self._trainer, name, value)
        numbers = {"batch": self._numbers, "probe": {}}
        rows = [rows_of(result, step=step, name=name, numbers=numbers[name]) for name, result in results.items()]
        self._table.write(step, [row for of_set in rows for row in of_set])
        if self._alerts is None or primary not in results:
            return []
        start = None
        if primary == "probe":
            ids = [pair.pair.id for pair in results["probe"].pairs]
            for name, logp in zip(ids, results["probe"].chosen_logp.tolist(), strict=True):
                self._start.setdefault(name, logp)
            start = sum(self._start[name] for name in ids) / len(ids)  # of the pairs of this step
        return self._alerts.check(results[primary], self._calibrations[primary], start=start)


def _add_step(calibration: Calibration, result: ProbeResult) -> None:
    assert result.measured is not None
    for side in SIDES:
        if not result.is_significant(side):
            continue
        forecasts = {"plain": float(getattr(result.plain, side).mean())}
        if result.optimizer is not None:
            forecasts["optimizer"] = float(getattr(result.optimizer, side).mean())
        calibration.add(side, forecasts, float(getattr(result.measured, side).mean()))
