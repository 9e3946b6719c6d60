"""How a record names the run that made it, where the caller knows more than the library: model name and command."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class RunLabel:
    """Names for the record of a run.

    Attributes:
        model_name: name of the model. None for the name that the model itself carries.
        command: command line that repeats the run. None for a run from Python.
    """

    model_name: str | None = None
    command: str | None = None


_LABEL = ContextVar("preflens run label", default=RunLabel())  # noqa: B039  # frozen


@contextmanager
def labeled_run(*, model_name: str | None = None, command: str | None = None) -> Iterator[None]:
    """Name the runs of `analyze` and `compare` inside the block, as the command line does.

    Args:
        model_name: name of the model for the record.
        command: command line for the record.

    Yields:
        Nothing.
    """
    token = _LABEL.set(RunLabel(model_name, command))
    try:
        yield
    finally:
        _LABEL.reset(token)


def run_label() -> RunLabel:
    """Return the label of the current run; it is empty outside `labeled_run`."""
    return _LABEL.get()
