"""The probe: one callback that forecasts what each step does to chosen and rejected log-probs, and checks it."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar
from weakref import WeakSet

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from preflens.errors import InputError, UnsupportedModelError
from preflens.training.probe.alerts import Alert, Alerts, tell
from preflens.training.probe.distributed import ProcessGroup, merged_looks, packed
from preflens.training.probe.failsafe import ProbeFailure
from preflens.training.probe.held_out import DEFAULT_COUNT, ProbePairs, held_out_pairs
from preflens.training.probe.recorder import Recorder
from preflens.training.probe.scheduling import ProbeSchedule
from preflens.training.probe.step_probe import StepProbe
from preflens.training.probe.trainer_adapter import (
    calling_trainer,
    check_trainer,
    make_session,
    number_rows,
)
from preflens.training.trainer_protocol import TrainerLike, tokenizer_of

LOGGER = logging.getLogger("preflens")

T = TypeVar("T")


class PreflensCallback(TrainerCallback):
    """Watches any run of TRL's DPOTrainer, from version 1.15 on, without changing a bit of it.

    On a probed step it measures the geometry of the pairs that are trained on and of held-out pairs, forecasts what
    the step will do to every log-prob, and measures what it did. Means go to the trainer's log under `preflens/…`, rows
    for each pair to `output_dir/preflens/probe.parquet`.

    Args:
        every: probe at most every so many optimizer steps.
        probe_pairs: held-out pairs that are watched: how many rows of the evaluation data, or a file, folder or hub
            id, or rows with `prompt`, `chosen` and `rejected`.
        max_overhead: share of training time that probing may take; it then probes less often, and fewer held-out
            pairs. None for no limit.
        window: probed steps that calibration looks back on.
        alerts: what to watch for; None for nothing.
        stop_on_alert: end training at the first alert.
        memory: bytes for the activations of a pass, and for kept gradients; None for half of what is free.
        strict: raise where a run cannot be watched, before its first step; otherwise it is trained without the probe,
            after a warning. What goes wrong later is a warning in any case.

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
        self._every, self._wanted, self._max_overhead, self._memory = every, probe_pairs, max_overhead, memory
        self._window, self._alerts, self._stop, self._strict = window, alerts, stop_on_alert, strict
        self._trainer: TrainerLike | None = None
        self._session: StepProbe | None = None
        self._processes = ProcessGroup()
        self._trouble, self._probing, self._trained_a_step = ProbeFailure(), False, False
        self._trained: WeakSet[Trainer] = WeakSet()

    def attach(self, trainer: Trainer) -> "PreflensCallback":
        """Watch a trainer that is already made.

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
        """Set up the run."""
        self._forget()
        self._trouble, self._processes = ProbeFailure(), ProcessGroup()
        self._trouble.attempt(lambda: self._begin(state))
        if self._off_everywhere(quietly=self._strict) and self._strict:
            raise self._trouble.error or UnsupportedModelError(str(self._trouble))

    def _begin(self, state: TrainerState) -> None:
        calling = calling_trainer(self)
        self._processes = ProcessGroup(calling.accelerator)
        fresh = calling not in self._trained
        self._trained.add(calling)
        trainer = self._trainer = check_trainer(calling)
        fixed = held_out_pairs(
            self._wanted, trainer.eval_dataset, tokenizer_of(trainer), max_length=trainer.args.max_length
        )
        self._pace = ProbeSchedule(every=self._every, max_overhead=self._max_overhead, probe_pairs=len(fixed))
        self._pace.begin(state.global_step)
        with self._pace.timed():
            mine = self._processes.mine(fixed)
            self._session = make_session(trainer, mine, memory=self._memory, fresh=fresh)
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
        """Begin to watch a step that is to be probed."""
        if self._session is not None and self._pace.due(state.global_step + 1):
            self._probing, self._before = True, self._pace.spent
            session, trained = self._session, self._trained_a_step
            self._attempt(lambda: session.watch(trained=trained))

    def on_substep_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Go on to the next micro-batch of a step."""
        if self._session is not None and self._probing:
            self._attempt(self._session.next_micro_batch)

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Forecast."""
        if self._session is not None and self._probing:
            assert self._trainer is not None
            held_out, session, optimizer = (
                self._processes.share_of(self._pace.pairs),
                self._session,
                self._trainer.optimizer,
            )
            self._attempt(lambda: session.before(optimizer, held_out=held_out))

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Measure, compare and log."""
        self._trained_a_step = True
        if self._session is None or not self._probing:
            return
        self._probing, session = False, self._session
        mine = self._attempt(lambda: packed(session.after()))
        # All processes come here, those where something went wrong too, so that none waits for another.
        if self._off_everywhere():
            return
        with self._pace.timed():
            everything = self._processes.collected(mine)
        alerts = self._attempt(lambda: self._record(state.global_step + 1, everything, args))
        self._pace.probed(state.global_step + 1, self._pace.spent - self._before)
        of_first = self._processes.from_first((bool(self._trouble), bool(alerts), self._pace.next, self._pace.pairs))
        off, alarmed, self._pace.next, self._pace.pairs = of_first
        if off:
            self._switch_off()
        if self._stop and alarmed:
            control.should_training_stop = True

    def _record(self, step: int, everything: Sequence[bytes], args: TrainingArguments) -> list[Alert]:
        assert self._trainer is not None
        if not self._processes.first or self._trainer.accelerator.optimizer_step_was_skipped:
            return []
        alerts = self._recorder.record(step, merged_looks(everything), overhead=self._pace.overhead)
        tell(alerts, step=step, trackers=args.report_to or ())
        return alerts

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Let go of the run."""
        self._forget()

    def _attempt(self, part: Callable[[], T]) -> T | None:
        """Run a part of a probed step; where it fails, what the step holds goes at once."""
        with self._pace.timed():
            found = self._trouble.attempt(part)
            if self._trouble:
                self._let_go()
        return found

    def _off_everywhere(self, *, quietly: bool = False) -> bool:
        """Switch the probe off if any process cannot go on; all must call this at the same step."""
        off = self._processes.any(bool(self._trouble))
        if off:
            self._switch_off(quietly=quietly)
        return off

    def _switch_off(self, *, quietly: bool = False) -> None:
        if not quietly:
            LOGGER.warning("The probe is off for the rest of this run, which goes on unchanged. %s", self._trouble)
        self._forget()

    def _let_go(self) -> None:
        if self._session is not None:
            ProbeFailure().attempt(self._session.forget)

    def _forget(self) -> None:
        self._let_go()
        self._session, self._probing, self._trained_a_step = None, False, False
