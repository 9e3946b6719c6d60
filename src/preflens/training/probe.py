"""The probe: one callback that forecasts what each step does to chosen and rejected log-probs, and checks it."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from preflens.errors import InputError, PreflensError
from preflens.training.alerts import Alerts
from preflens.training.held_out import DEFAULT_COUNT, ProbePairs, held_out_pairs
from preflens.training.looks import Look
from preflens.training.pace import Pace
from preflens.training.processes import Processes
from preflens.training.recorder import Recorder
from preflens.training.session import Session
from preflens.training.tell import tell
from preflens.training.trl_run import make_session, number_rows, refuse_what_cannot_be_watched

LOGGER = logging.getLogger("preflens")


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
    ) -> None:
        if every < 1 or (max_overhead is not None and max_overhead <= 0):
            raise InputError(
                f"`every` should be 1 or more, and `max_overhead` above 0. Found {every} and {max_overhead}."
            )
        self._every, self._wanted, self._max_overhead, self._memory = every, probe_pairs, max_overhead, memory
        self._window, self._alerts, self._stop = window, alerts, stop_on_alert
        self._trainer: Any = None  # a DPOTrainer; trl is not annotated
        self._session: Session | None = None
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
        trainer: Any = _calling_trainer(self)  # a DPOTrainer; trl is not annotated
        self._trainer = trainer
        fresh = trainer not in self._trained
        self._trained.add(trainer)
        refuse_what_cannot_be_watched(trainer)
        self._processes = Processes(trainer.accelerator)
        fixed = held_out_pairs(
            self._wanted, trainer.eval_dataset, trainer.processing_class, max_length=self._trainer.args.max_length
        )
        self._pace = Pace(every=self._every, max_overhead=self._max_overhead, probe_pairs=len(fixed))
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
            self._before = self._pace.spent
            self._session.watch()

    def on_substep_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Go on to the next micro-batch of a step."""
        if self._session is not None and self._session.watching:
            with self._pace.timed():
                self._session.next_micro_batch()

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Forecast."""
        if self._session is not None and self._session.watching:
            held_out = self._processes.share_of(self._pace.pairs)
            with self._pace.timed(), self._guarded():
                self._session.before(self._trainer.optimizer, held_out=held_out)

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Measure, compare and log."""
        if self._session is None or not self._session.watching:
            return
        step, alerts = state.global_step + 1, []
        looks: dict[str, Look] = {}
        with self._pace.timed():
            with self._guarded():
                looks = {} if self._failed else self._session.after()
            if self._processes.any(self._failed):
                self._forget()
                return
            looks = self._processes.merge(looks)
            if self._processes.first and not self._trainer.accelerator.optimizer_step_was_skipped:
                alerts = self._recorder.record(step, looks, overhead=self._pace.overhead)
                tell(alerts, step=step, trackers=args.report_to or ())
        self._pace.probed(step, self._pace.spent - self._before)
        self._pace.next, self._pace.pairs = self._processes.from_first((self._pace.next, self._pace.pairs))
        if self._stop and self._processes.from_first(bool(alerts)):
            control.should_training_stop = True

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Let go of the run."""
        self._forget()

    def _forget(self) -> None:
        if self._session is not None:
            self._session.forget()
        self._session, self._failed = None, False

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Give the probe up rather than the run, where a step is of a kind that it does not know."""
        try:
            yield
        except PreflensError as error:
            self._failed = True
            LOGGER.warning("The probe is off for the rest of this run. %s", error)


def _calling_trainer(callback: TrainerCallback) -> Trainer:
    """Find the trainer that calls: transformers hands callbacks everything but the trainer itself.

    Args:
        callback: that is being called.

    Returns:
        The trainer.

    Raises:
        InputError: nobody up the stack is one that has this callback.
    """
    frame = sys._getframe(1)
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, Trainer) and callback in found.callback_handler.callbacks:
            return found
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    raise InputError("The probe found no trainer. Attach it by `PreflensCallback(...).attach(trainer)`.")
