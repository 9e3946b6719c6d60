"""How often to look, so that looking costs no more than it may."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class ProbeSchedule:
    """Decides which steps are probed, from what probing has cost so far.

    Args:
        every: probe every so many steps at most.
        max_overhead: share of the other time of training that probing may take; None for no limit.
        probe_pairs: how many held-out pairs there are.

    Attributes:
        pairs: how many of them are looked at; halved where the steps would otherwise lie too far apart.
        next: the step to probe next.
        spent: seconds that probing took since training began.
    """

    # Rather look at fewer pairs than at one step in so many times `every`.
    PATIENCE = 8
    FEWEST_PAIRS = 4

    def __init__(self, *, every: int, max_overhead: float | None, probe_pairs: int) -> None:
        self._every, self._max_overhead = every, max_overhead
        self.pairs = probe_pairs
        self._start: float | None = None
        self.spent = 0.0
        self._first_step, self.next, self._first = 0, 0, True

    def begin(self, step: int) -> None:
        """Note that training begins, or goes on, after a number of steps."""
        self._start, self._first_step, self.spent = time.perf_counter(), step, 0.0
        self.next = -(-(step + 1) // self._every) * self._every  # multiples of `every`

    @property
    def overhead(self) -> float:
        """Time spent here as a share of the time spent on everything else since training began."""
        elapsed = 0.0 if self._start is None else time.perf_counter() - self._start
        return self.spent / (elapsed - self.spent) if elapsed > self.spent else 0.0

    def due(self, step: int) -> bool:
        """Tell whether a step is to be probed."""
        return step >= self.next

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of what is done inside.

        Yields:
            Nothing.
        """
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spent += time.perf_counter() - start

    def probed(self, step: int, seconds: float) -> None:
        """Settle the next step to probe.

        Args:
            step: that was probed.
            seconds: what it cost.
        """
        wait = self._every
        if self._max_overhead is not None and self._start is not None:
            other = (time.perf_counter() - self._start - self.spent) / max(1, step - self._first_step)
            affordable = seconds / (self._max_overhead * max(other, 1e-9))
            behind = self.spent / self._max_overhead - other * (step - self._first_step)
            wait = max(wait, int(max(affordable, behind / max(other, 1e-9))) + 1)
            first, self._first = self._first, False  # it pays for what is done once
            if not first and wait > self.PATIENCE * self._every and self.pairs > self.FEWEST_PAIRS:
                self.pairs = max(self.FEWEST_PAIRS, self.pairs // 2)
        self.next = -(-(step + wait) // self._every) * self._every
