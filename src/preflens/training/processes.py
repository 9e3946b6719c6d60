"""Several processes that train together: each looks at its own pairs, the first one records."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from preflens.training.looks import Look, merged

T = TypeVar("T")


class Processes:
    """The processes of a run.

    Args:
        accelerator: of the trainer.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.count, self._number = accelerator.num_processes, accelerator.process_index

    @property
    def first(self) -> bool:
        """Whether this is the process that records."""
        return bool(self._number == 0)

    def mine(self, everything: Sequence[T]) -> tuple[T, ...]:
        """Return this process's share of what there is to do.

        Args:
            everything: the same in every process.

        Returns:
            Every so-manieth of it.
        """
        return tuple(everything[self._number :: self.count])

    def share_of(self, total: int) -> int:
        """Return how many of the first `total` things are this process's.

        Args:
            total: things.

        Returns:
            How many.
        """
        return len(range(self._number, total, self.count))

    def merge(self, looks: Mapping[str, Look]) -> dict[str, Look]:
        """Put the looks of all processes together; all must call this at the same step.

        Args:
            looks: of this process, by name.

        Returns:
            Of all processes.
        """
        if self.count == 1:
            return dict(looks)
        gathered: list[dict[str, Look]] = gather_object([dict(looks)])
        names = dict.fromkeys(name for each in gathered for name in each)
        return {name: merged([each[name] for each in gathered if name in each]) for name in names}

    def any(self, here: bool) -> bool:
        """Tell whether something is so in any process; all must call this.

        Args:
            here: whether it is so in this one.

        Returns:
            Whether it is anywhere.
        """
        return here if self.count == 1 else any(gather_object([here]))

    def from_first(self, value: T) -> T:
        """Return what the first process has; all must call this.

        Args:
            value: this process's.

        Returns:
            The first one's.
        """
        if self.count == 1:
            return value
        values = [value]
        broadcast_object_list(values)
        return values[0]
