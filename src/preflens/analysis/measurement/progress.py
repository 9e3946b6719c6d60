"""Progress bar, wall-clock time of the parts of a run, and a single-thread block for small sums."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """Return the rate of a task.

        Args:
            task: the task.

        Returns:
            Items per second, or dots at the start.
        """
        return Text(f"{task.speed:.3g}/s" if task.speed else "…/s", style="dim")


@contextmanager
def progress_bar(what: str, *, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error during the block.

    Args:
        what: text beside the bar.
        total: number of items.
        shown: whether to show the bar.

    Yields:
        A function that takes the number of newly finished items.
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
    """Record the wall-clock time of the block.

    Args:
        seconds: wall-clock time by part. This part is added.
        part: name of the part.

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
    """Compute on one thread during the block: for a few dozen numbers, starting more threads costs more than it saves.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
