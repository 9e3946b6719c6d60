"""A progress bar with rate and time left, and a clock for the parts of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _RateColumn(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Return the rate of a task.

        Args:
            task: the task.

        Returns:
            Its rate, or dots at the start.
        """
        return Text(f"{task.speed:.3g}/s" if task.speed else "…/s", style="dim")


@contextmanager
def progress_bar(what: str, *, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error while something is worked through.

    Args:
        what: said beside the bar.
        total: how many there are.
        shown: whether to show anything.

    Yields:
        A function to call with how many more are done.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        task = progress.add_task(what, total=total)
        yield lambda more: progress.advance(task, more)


@contextmanager
def timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Note how long a part of a run takes.

    Args:
        seconds: wall-clock time by part; this part is added.
        part: its name.

    Yields:
        Nothing.
    """
    start = perf_counter()
    try:
        yield
    finally:
        seconds[part] = round(perf_counter() - start, 3)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread for a while: waking others takes longer than some dozens of numbers.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
