"""Contain every exception of the probe: it ends the probe, never the training run."""

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
    """The first exception of the probe; after it, no part of the probe runs.

    Attributes:
        error: the exception, without its frames; None before any.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __bool__(self) -> bool:
        return self.error is not None

    def note(self, error: Exception) -> None:
        """Keep an exception, and release what its frames hold, such as activations and gradients.

        Args:
            error: raised in a part of the probe.
        """
        LOGGER.debug("the probe failed", exc_info=error)
        error.__traceback__ = error.__cause__ = error.__context__ = None
        self.error = self.error or error

    def attempt(self, part: Callable[[], T]) -> T | None:
        """Run a part of the probe and restore the random states afterwards.

        Args:
            part: its exceptions are kept, out of memory included. Only those of the user (an interrupt) are raised.

        Returns:
            The result of the part; None after an exception, now or earlier.
        """
        if self:
            return None
        try:
            with _same_random_states():
                return part()
        # A run of days is worth more than its probe, so here every exception is caught, whatever raised it: the model's
        # code, an optimizer, a full disk, a tracker.
        except Exception as error:
            self.note(error)
        gc.collect()  # the exception may have been in cycles with its frames
        return None

    def __str__(self) -> str:
        error = self.error
        if error is None:
            return "Another process of this run could not continue the probe."
        if isinstance(error, PreflensError):
            return str(error)
        is_out_of_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        message = f"{type(error).__name__}: {first_line(error)}." if str(error).strip() else f"{type(error).__name__}."
        return f"Memory was not enough ({message[:-1]})." if is_out_of_memory else message


@contextmanager
def _same_random_states() -> Iterator[None]:
    """Restore the generators of torch, numpy and Python, all that a trainer draws from."""
    python, numpy = random.getstate(), np.random.get_state()  # the run's own generator, not ours
    try:
        with same_random_state():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
