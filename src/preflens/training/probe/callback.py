"""The probe as a callback: it forecasts what steps do to chosen and rejected log-probs, and measures it."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar
from weakref import WeakSet

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from preflens.errors import InputError, UnsupportedModelError
from preflens.training.probe.alerts import Alert, Alerts, send_alerts
from preflens.training.probe.distributed import ProcessGroup, merge_packed, pack_results
from preflens.training.probe.failsafe import ProbeFailure
from preflens.training.probe.held_out import DEFAULT_COUNT, ProbePairs, held_out_pairs
from preflens.training.probe.recorder import Recorder
from preflens.training.probe.scheduling import ProbeSchedule
from preflens.training.probe.step_probe import StepProbe
from preflens.training.probe.trainer_adapter import calling_trainer, check_trainer, make_step_probe, number_rows
from preflens.training.trainer_protocol import TrainerLike, tokenizer_of

LOGGER = logging.getLogger("preflens")

T = TypeVar("T")


class PreflensCallback(TrainerCallback):
    """Probes any run of TRL's DPOTrainer, from version 1.15 on, without changing a bit of it.

    On a probed step it computes the gradient geometry of the training pairs and of held-out pairs, forecasts how the
    step changes every log-prob, and measures the change after the step. Means go to the trainer's log under
    `preflens/…`, rows for each pair to `output_dir/preflens/probe.parquet`.

    Args:
        every: probe at most every this many optimizer steps.
        probe_pairs: held-out pairs: how many rows of the evaluation data, or a file, folder or hub id, or rows with
            `prompt`, `chosen` and `rejected`.
        max_overhead: time for probing as a share of all other training time. To stay below it, fewer steps are probed,
            and fewer held-out pairs. None for no limit.
        window: probed steps that calibration uses.
        alerts: thresholds; None for no alerts.
        stop_on_alert: end training at the first alert.
        memory: bytes for the activations of a pass, and for kept gradients; None for half of what is free.
        strict: raise before the first step where a run cannot be probed. Otherwise it is trained without the probe,
            after a warning. Later failures are a warning in any case.

    Attributes:
        step_probe: probes the steps of the run; None outside of a run, and after a failure.

    Raises:
        InputError: `every` or `max_overhead` is out of range.

    Example:
        >>> callback = PreflensCallback(every=20, probe_pairs=16)  # then: DPOTrainer(..., callbacks=[callback])
    """

    def __init__(
        self,
        *,
        every: int = 10,
        probe_pairs: ProbePairs = DEFAULT_COUNT,
        max_overhead: float | None = 0.02,
        window: int = 50,
        alerts: Alerts | None = Alerts(),  # noqa: B008  # copied at the start of a run
        stop_on_alert: bool = False,
        memory: float | None = None,
        strict: bool = False,
    ) -> None:
        if every < 1 or (max_overhead is not None and max_overhead <= 0):
            raise InputError(
                f"`every` should be 1 or more, and `max_overhead` above 0. Found {every} and {max_overhead}."
            )
        self._every, self._probe_pairs, self._max_overhead, self._memory = every, probe_pairs, max_overhead, memory
        self._window, self._alerts, self._stop_on_alert, self._strict = window, alerts, stop_on_alert, strict
        self._trainer: TrainerLike | None = None
        self.step_probe: StepProbe | None = None
        self._processes = ProcessGroup()
        self._failure, self._is_probing, self._has_stepped = ProbeFailure(), False, False
        self._known_trainers: WeakSet[Trainer] = WeakSet()

    def attach(self, trainer: Trainer) -> "PreflensCallback":
        """Add the callback to a trainer that is already made.

        Args:
            trainer: a `DPOTrainer`.

        Returns:
            The callback.
        """
        if self not in trainer.callback_handler.callbacks:
            trainer.add_callback(self)
        return self

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Set up the probe for a run."""
        self._reset()
        self._failure, self._processes = ProbeFailure(), ProcessGroup()
        self._failure.attempt(lambda: self._begin(state))
        if self._off_everywhere(quietly=self._strict) and self._strict:
            raise self._failure.error or UnsupportedModelError(str(self._failure))

    def _begin(self, state: TrainerState) -> None:
        calling = calling_trainer(self)
        self._processes = ProcessGroup(calling.accelerator)
        fresh = calling not in self._known_trainers
        self._known_trainers.add(calling)
        trainer = self._trainer = check_trainer(calling)
        held_out = held_out_pairs(
            self._probe_pairs, trainer.eval_dataset, tokenizer_of(trainer), max_length=trainer.args.max_length
        )
        self._schedule = ProbeSchedule(every=self._every, max_overhead=self._max_overhead, probe_pairs=len(held_out))
        self._schedule.begin(state.global_step)
        with self._schedule.timed():
            local = self._processes.local(held_out)
            self.step_probe = make_step_probe(trainer, local, memory=self._memory, fresh=fresh)
            if self._processes.first:
                numbers = number_rows(trainer)
                self._recorder = Recorder(trainer, window=self._window, alerts=self._alerts, numbers=numbers)

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Start to capture a step that is to be probed."""
        if self.step_probe is not None and self._schedule.due(state.global_step + 1):
            self._is_probing, self._spent_before = True, self._schedule.spent
            step_probe, trained = self.step_probe, self._has_stepped
            self._attempt(lambda: step_probe.begin(trained=trained))

    def on_substep_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """End a micro-batch; another one of the same step follows."""
        if self.step_probe is not None and self._is_probing:
            self._attempt(self.step_probe.next_micro_batch)

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Forecast the step."""
        if self.step_probe is not None and self._is_probing:
            assert self._trainer is not None
            step_probe, optimizer = self.step_probe, self._trainer.optimizer
            held_out = self._processes.local_count(self._schedule.pairs)
            self._attempt(lambda: step_probe.predict(optimizer, held_out=held_out))

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Measure the changes, compare them with the forecasts, and log."""
        self._has_stepped = True
        if self.step_probe is None or not self._is_probing:
            return
        self._is_probing, step_probe = False, self.step_probe
        packed = self._attempt(lambda: pack_results(step_probe.measure()))
        # All processes come here, after a failure too, so that none waits for another.
        if self._off_everywhere():
            return
        step, schedule = state.global_step + 1, self._schedule
        with schedule.timed():
            gathered = self._processes.gather(packed)
        alerts = self._attempt(lambda: self._record(step, gathered, args))
        schedule.probed(step, schedule.spent - self._spent_before)
        of_first = self._processes.from_first((bool(self._failure), bool(alerts), schedule.next, schedule.pairs))
        is_off, has_alerts, schedule.next, schedule.pairs = of_first
        if is_off:
            self._switch_off()
        if self._stop_on_alert and has_alerts:
            control.should_training_stop = True

    def _record(self, step: int, packed: Sequence[bytes], args: TrainingArguments) -> list[Alert]:
        assert self._trainer is not None
        if not self._processes.first or self._trainer.accelerator.optimizer_step_was_skipped:
            return []
        alerts = self._recorder.record(step, merge_packed(packed), overhead=self._schedule.overhead)
        send_alerts(alerts, step=step, trackers=args.report_to or ())
        return alerts

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Release everything of the run."""
        self._reset()

    def _attempt(self, part: Callable[[], T]) -> T | None:
        """Run a part of a probed step; if it fails, release at once what the step holds."""
        with self._schedule.timed():
            result = self._failure.attempt(part)
            if self._failure:
                self._discard_step()
        return result

    def _off_everywhere(self, *, quietly: bool = False) -> bool:
        """Switch the probe off if it failed in any process (collective call)."""
        is_off = self._processes.any(bool(self._failure))
        if is_off:
            self._switch_off(quietly=quietly)
        return is_off

    def _switch_off(self, *, quietly: bool = False) -> None:
        if not quietly:
            LOGGER.warning("The probe is off for the rest of this run, which continues unchanged. %s", self._failure)
        self._reset()

    def _discard_step(self) -> None:
        if self.step_probe is not None:
            ProbeFailure().attempt(self.step_probe.discard)

    def _reset(self) -> None:
        self._discard_step()
        self.step_probe, self._is_probing, self._has_stepped = None, False, False
