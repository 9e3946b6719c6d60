"""Schedule probed steps to stay within a time budget."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class ProbeSchedule:
    """Chooses the steps to probe, from what probing has cost so far.

    Args:
        every: probe at most every this many steps.
        max_overhead: time for probing as a share of all other training time; None for no limit.
        probe_pairs: how many held-out pairs there are.

    Attributes:
        pairs: how many of them are used; halved where probed steps would otherwise be too far apart.
        next: the step to probe next.
        spent: seconds that probing took since training began.
    """

    # Use fewer pairs before waiting longer than this many times `every`.
    PATIENCE = 8
    FEWEST_PAIRS = 4

    def __init__(self, *, every: int, max_overhead: float | None, probe_pairs: int) -> None:
        self._every, self._max_overhead = every, max_overhead
        self.pairs = probe_pairs
        self._start: float | None = None
        self.spent = 0.0
        self._first_step, self.next, self._is_first_probe = 0, 0, True

    def begin(self, step: int) -> None:
        """Start the clock of a run that begins, or resumes, after `step` steps."""
        self._start, self._first_step, self.spent = time.perf_counter(), step, 0.0
        self.next = -(-(step + 1) // self._every) * self._every  # multiples of `every`

    @property
    def overhead(self) -> float:
        """Time spent on probing as a share of all other time since training began."""
        elapsed = 0.0 if self._start is None else time.perf_counter() - self._start
        return self.spent / (elapsed - self.spent) if elapsed > self.spent else 0.0

    def due(self, step: int) -> bool:
        """Return whether a step is to be probed."""
        return step >= self.next

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of a block as probing.

        Yields:
            Nothing.
        """
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spent += time.perf_counter() - start

    def probed(self, step: int, seconds: float) -> None:
        """Choose the next step to probe.

        Args:
            step: that was probed.
            seconds: its cost.
        """
        wait = self._every
        if self._max_overhead is not None and self._start is not None:
            step_seconds = (time.perf_counter() - self._start - self.spent) / max(1, step - self._first_step)
            affordable = seconds / (self._max_overhead * max(step_seconds, 1e-9))
            behind = self.spent / self._max_overhead - step_seconds * (step - self._first_step)
            wait = max(wait, int(max(affordable, behind / max(step_seconds, 1e-9))) + 1)
            is_first, self._is_first_probe = self._is_first_probe, False  # its cost includes what is done once
            if not is_first and wait > self.PATIENCE * self._every and self.pairs > self.FEWEST_PAIRS:
                self.pairs = max(self.FEWEST_PAIRS, self.pairs // 2)
        self.next = -(-(step + wait) // self._every) * self._every
