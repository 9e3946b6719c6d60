"""Keep finished parts of a run on disk, so that an interrupted run can continue.

A run always uses a part as it would be read back from disk, in freshly allocated memory. So a continued run computes
with the same bits, in the same order, as a run that was never interrupted.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from preflens.analysis.measurement.forward_passes import MicroBatches
from preflens.analysis.measurement.geometry import BatchGeometry
from preflens.analysis.measurement.progress import progress_bar
from preflens.analysis.measurement.sealed_arrays import Arrays, digest, seal_arrays, unseal_arrays
from preflens.errors import InputError, NumericalError
from preflens.pair_logps import PairLogps
from preflens.records.json_codec import from_json, to_json
from preflens.records.storage import write_atomically
from preflens.types import BatchGram, PairGram

LOGGER = logging.getLogger("preflens")
T = TypeVar("T")


class Checkpoint:
    """A folder of finished parts, each with a seal. A part that is truncated, changed or of another run is recomputed.

    Args:
        folder: existing folder of the parts. None keeps nothing.
        key: identifies the run, at most 64 characters.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder, self._key = folder, key.encode()

    def geometry(self, name: str, pairs: int, make: Callable[[], BatchGeometry]) -> BatchGeometry:
        """Measure an update batch, or read its kept geometry.

        Args:
            name: name of the part.
            pairs: number of pairs in the batch.
            make: measures the batch.

        Returns:
            The geometry.
        """
        return self._load_or_make(name, lambda: _to_arrays(make()), lambda arrays: _from_arrays(arrays, pairs))

    def values(self, name: str, shape: tuple[int, ...], make: Callable[[], Tensor]) -> Tensor:
        """Compute a tensor, or read the kept one.

        Args:
            name: name of the part.
            shape: shape of the tensor.
            make: computes the tensor.

        Returns:
            The tensor.
        """

        def read(arrays: Arrays) -> Tensor:
            return _shaped(_tensor(arrays["values"]), "values", shape)

        return self._load_or_make(name, lambda: {"values": make().numpy()}, read)

    def record(self, kind: type[T], make: Callable[[], T], *parts: object) -> T:
        """Make a record, or read the kept one.

        Args:
            kind: class of the record.
            make: makes the record.
            *parts: records and values that it depends on.

        Returns:
            The record.
        """
        name = f"record-{digest(''.join(map(to_json, parts)).encode())}"
        return self._load_or_make(
            name, lambda: {"json": np.array(to_json(make()))}, lambda arrays: from_json(kind, str(arrays["json"]))
        )

    def _load_or_make(self, name: str, make: Callable[[], Arrays], read: Callable[[Arrays], T]) -> T:
        if self._folder is None:
            return read(make())
        path = self._folder / f"{name}.npz"
        content = _content(path)
        if content is not None:
            try:
                return read(unseal_arrays(content, name, self._key))
            except (ValueError, KeyError, NumericalError) as error:
                LOGGER.warning("`%s` is damaged (%s) and is computed again.", path, error)
        arrays = make()
        sealed = seal_arrays(arrays, name, self._key)
        write_atomically(path, lambda at: at.write_bytes(sealed))
        return read(arrays)


def measure_batches(
    batches: Sequence[Sequence[int]],
    passes: Callable[[Sequence[int]], MicroBatches],
    measure: Callable[[MicroBatches], BatchGeometry],
    checkpoint: Checkpoint,
    *,
    progress: bool,
) -> list[BatchGeometry]:
    """Measure every update batch that the checkpoint does not have yet.

    Args:
        batches: positions of each batch's pairs.
        passes: splits a batch into forward passes.
        measure: measures its geometry.
        checkpoint: the finished batches.
        progress: show a progress bar.

    Returns:
        The geometry of every batch.
    """
    geometries = []
    with progress_bar("Gradients of pairs", total=sum(map(len, batches)), shown=progress) as advance:
        for number, batch in enumerate(batches):
            geometry = checkpoint.geometry(
                f"batch-{number:06}", len(batch), lambda batch=batch: measure(passes(batch))  # type: ignore[misc]  # a default of a lambda
            )  # fmt: skip
            geometries.append(geometry)
            advance(len(batch))
    return geometries


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"Cannot read `{path}`: {error.strerror}. Move it away, and it is computed again.") from None


def _to_arrays(geometry: BatchGeometry) -> Arrays:
    logps = {f"logps.{f.name}": getattr(geometry.logps, f.name) for f in fields(PairLogps)}
    tensors: dict[str, Tensor] = {name: value for name, value in logps.items() if value is not None}
    tensors |= {"gram.matrix": geometry.gram.matrix, "gram.logps": geometry.gram.logps}
    layers = geometry.by_layer
    tensors |= {"ww": layers.chosen_sq_norm, "ll": layers.rejected_sq_norm, "wl": layers.inner_product}
    return {name: value.numpy() for name, value in tensors.items()} | {"blocks": np.array(layers.blocks)}


def _from_arrays(arrays: Arrays, pairs: int) -> BatchGeometry:
    blocks = tuple(arrays["blocks"].tolist())
    shapes = {"gram.matrix": (2 * pairs, 2 * pairs), "gram.logps": (2 * pairs,)}
    shapes |= dict.fromkeys(("ww", "ll", "wl"), (len(blocks), pairs))
    tensors = {name: _tensor(array) for name, array in arrays.items() if name != "blocks"}
    for name, tensor in tensors.items():
        _shaped(tensor, name, shapes.get(name, (pairs, *tensor.shape[1:])))
    logps = {f.name: tensors.get(f"logps.{f.name}") for f in fields(PairLogps)}
    layers = PairGram(tensors["ww"], tensors["ll"], tensors["wl"], blocks)
    gram = BatchGram(tensors["gram.matrix"], tensors["gram.logps"])
    return BatchGeometry(PairLogps(**logps), gram, layers)  # type: ignore[arg-type]  # chosen and rejected are always kept


def _tensor(array: np.ndarray) -> Tensor:
    """Copy to torch's own memory, row after row, because the memory layout decides the order of sums."""
    return torch.from_numpy(np.ascontiguousarray(array)).clone()


def _shaped(tensor: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"`{name}` should have the shape {shape}. Found {tuple(tensor.shape)}")
    return tensor
