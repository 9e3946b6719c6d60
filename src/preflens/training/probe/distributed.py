"""Processes that train together: each probes its own pairs, the first one records."""

import pickle
from collections.abc import Mapping, Sequence
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from preflens.training.probe.result import ProbeResult, merge_results

T = TypeVar("T")


class ProcessGroup:
    """The processes of a run.

    Collective methods have to be called by every process, whatever failed before, or the others wait forever. So work
    that may fail in one process (packing, recording) is done outside of them.

    Args:
        accelerator: of the trainer; None for a single process.
    """

    def __init__(self, accelerator: Accelerator | None = None) -> None:
        self.count: int = 1 if accelerator is None else accelerator.num_processes
        self._rank: int = 0 if accelerator is None else accelerator.process_index

    @property
    def first(self) -> bool:
        """Whether this is the process that records (rank 0)."""
        return bool(self._rank == 0)

    def local(self, items: Sequence[T]) -> tuple[T, ...]:
        """Return this process's share of items.

        Args:
            items: the same in every process.

        Returns:
            Every `count`-th item, starting at this rank.
        """
        return tuple(items[self._rank :: self.count])

    def local_count(self, total: int) -> int:
        """Return how many of the first `total` items `local` gives to this process.

        Args:
            total: number of items.

        Returns:
            Their number.
        """
        return len(range(self._rank, total, self.count))

    def gather(self, packed: bytes | None) -> list[bytes]:
        """Gather packed results from all ranks (collective call).

        Args:
            packed: of this rank, or None.

        Returns:
            Those of all ranks that have any, in order.
        """
        gathered: list[bytes | None] = [packed] if self.count == 1 else gather_object([packed])
        return [each for each in gathered if each is not None]

    def any(self, flag: bool) -> bool:
        """Return True if the flag is set on any rank (collective call).

        Args:
            flag: of this rank.

        Returns:
            Whether it is set anywhere.
        """
        return flag if self.count == 1 else any(gather_object([flag]))

    def from_first(self, value: T) -> T:
        """Return the value of rank 0 (collective call).

        Args:
            value: of this rank.

        Returns:
            That of rank 0.
        """
        if self.count == 1:
            return value
        values = [value]
        broadcast_object_list(values)
        return values[0]


def pack_results(results: Mapping[str, ProbeResult]) -> bytes:
    """Serialize results.

    Args:
        results: of this process, by name of the set.

    Returns:
        Bytes.
    """
    return pickle.dumps(dict(results))


def merge_packed(packed: Sequence[bytes]) -> dict[str, ProbeResult]:
    """Merge the results of all processes.

    Args:
        packed: of each process.

    Returns:
        By name of the set.
    """
    results: list[dict[str, ProbeResult]] = [pickle.loads(each) for each in packed]  # written by our own processes
    names = dict.fromkeys(name for each in results for name in each)
    return {name: merge_results([each[name] for each in results if name in each]) for name in names}
