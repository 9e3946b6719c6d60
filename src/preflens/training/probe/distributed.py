"""Several processes that train together: each looks at its own pairs, the first one records."""

import pickle
from collections.abc import Mapping, Sequence
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from preflens.training.probe.result import ProbeResult, merged

T = TypeVar("T")


class ProcessGroup:
    """The processes of a run.

    Whoever calls a method of which all must call it has to reach the call whatever went wrong before, or the others
    wait for ever: so what may fail in one process (packing, recording) stands in methods of its own.

    Args:
        accelerator: of the trainer; None for a process that is alone.
    """

    def __init__(self, accelerator: Accelerator | None = None) -> None:
        self.count: int = 1 if accelerator is None else accelerator.num_processes
        self._number: int = 0 if accelerator is None else accelerator.process_index

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

    def collected(self, mine: bytes | None) -> list[bytes]:
        """Bring what all processes have packed together; all must call this at the same step.

        Args:
            mine: of this process.

        Returns:
            Of all processes, in order.
        """
        found: list[bytes | None] = [mine] if self.count == 1 else gather_object([mine])
        return [each for each in found if each is not None]

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


def packed(results: Mapping[str, ProbeResult]) -> bytes:
    """Make looks ready to travel.

    Args:
        results: of this process, by name.

    Returns:
        The same in bytes.
    """
    return pickle.dumps(dict(results))


def merged_looks(everything: Sequence[bytes]) -> dict[str, ProbeResult]:
    """Put the looks of all processes together.

    Args:
        everything: packed, of each process.

    Returns:
        By name.
    """
    found: list[dict[str, ProbeResult]] = [pickle.loads(each) for each in everything]  # our own processes made it
    names = dict.fromkeys(name for each in found for name in each)
    return {name: merged([each[name] for each in found if name in each]) for name in names}
