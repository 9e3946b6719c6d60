"""Whatever goes wrong in the probe stays in the probe: an exception ends the probe, never the run that it watches."""

import gc
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from preflens.errors import PreflensError
from preflens.gram.capture.restoring import same_random_state
from preflens.language_models.model_names import first_line

LOGGER = logging.getLogger("preflens")

T = TypeVar("T")


class ProbeFailure:
    """The first exception of the probe; after it, no part of the probe runs any more.

    Attributes:
        error: the exception, without its frames; None where all is well.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __bool__(self) -> bool:
        return self.error is not None

    def note(self, error: Exception) -> None:
        """Keep an exception, and let go of what its frames hold: activations and gradients, after a lack of memory.

        Args:
            error: that was raised in a part of the probe.
        """
        LOGGER.debug("the probe failed", exc_info=error)
        error.__traceback__ = error.__cause__ = error.__context__ = None
        self.error = self.error or error

    def attempt(self, part: Callable[[], T]) -> T | None:
        """Run a part of the probe; random states are afterwards as before.

        Args:
            part: whose exceptions are noted, out of memory among them. What the user does (an interrupt) goes through.

        Returns:
            What the part returns; None after any exception, and where there was one before.
        """
        if self:
            return None
        try:
            with _same_random_states():
                return part()
        # A run of days is worth more than the look at it, so here every exception is caught, whoever raised it:
        # the model's code, an optimizer, a full disk, a tracker.
        except Exception as error:
            self.note(error)
        gc.collect()  # what was caught may have been in cycles with its frames
        return None

    def __str__(self) -> str:
        error = self.error
        if error is None:
            return "Another process of this run could not go on."
        if isinstance(error, PreflensError):
            return str(error)
        lacks_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        said = f"{type(error).__name__}: {first_line(error)}." if str(error).strip() else f"{type(error).__name__}."
        return f"Memory was not enough ({said[:-1]})." if lacks_memory else said


@contextmanager
def _same_random_states() -> Iterator[None]:
    """Leave the generators of torch, numpy and Python as they were: all that a trainer draws from."""
    python, numpy = random.getstate(), np.random.get_state()  # the run's own generator, not ours
    try:
        with same_random_state():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
