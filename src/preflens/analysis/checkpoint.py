"""Finished update batches kept on disk, so that an interrupted analysis goes on where it stopped."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from preflens.analysis.geometry import BatchGeometry
from preflens.analysis.passes import Passes
from preflens.analysis.progress import progress_bar
from preflens.log_probs import PairLogps
from preflens.records.storage import write_atomically
from preflens.types import BatchGram, PairGram


class Checkpoint:
    """A folder of finished batches that belong to one run.

    Args:
        folder: where they lie; None keeps nothing.
        key: what the run is made of (model, pairs, arguments); batches of another key are thrown away.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder = folder
        if folder is None:
            return
        note = folder / "run"
        if folder.exists() and not (note.is_file() and note.read_text(encoding="utf-8") == key):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(note, lambda path: path.write_text(key, encoding="utf-8"))

    def load(self, batch: int | str) -> BatchGeometry | None:
        """Return a finished batch.

        Args:
            batch: its number, or a name.

        Returns:
            The geometry, or None if it is not there or damaged.
        """
        arrays = self.load_arrays(_name(batch))
        try:
            return None if arrays is None else _from_arrays(arrays)
        except KeyError:
            return None

    def store(self, batch: int | str, geometry: BatchGeometry) -> None:
        """Keep a finished batch.

        Args:
            batch: its number, or a name.
            geometry: what was found.
        """
        self.store_arrays(_name(batch), _to_arrays(geometry))

    def load_arrays(self, name: str) -> dict[str, np.ndarray] | None:
        """Return arrays that were kept.

        Args:
            name: what they are.

        Returns:
            Array by name, or None if they are not there or damaged.
        """
        if self._folder is None or not (path := self._folder / f"{name}.npz").is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return {entry: arrays[entry] for entry in arrays.files}
        except (ValueError, KeyError, OSError, EOFError, BadZipFile):
            return None

    def store_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays.

        Args:
            name: what they are; a file is called so.
            arrays: by name.
        """
        if self._folder is not None:
            whole = dict(arrays)
            write_atomically(self._folder / f"{name}.npz", lambda at: np.savez(at, allow_pickle=False, **whole))

    def clear(self) -> None:
        """Forget everything: the run is complete."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def measure_batches(
    batches: Sequence[Sequence[int]],
    passes: Callable[[Sequence[int]], Passes],
    look: Callable[[Passes], BatchGeometry],
    checkpoint: Checkpoint,
    *,
    progress: bool,
) -> list[BatchGeometry]:
    """Measure every update batch that is not kept yet.

    Args:
        batches: positions of each batch's pairs.
        passes: cuts a batch into forward passes.
        look: measures it.
        checkpoint: what is kept.
        progress: show a progress bar.

    Returns:
        The geometry of every batch.
    """
    found = []
    with progress_bar("Gradients of pairs", total=sum(map(len, batches)), shown=progress) as advance:
        for number, batch in enumerate(batches):
            geometry = checkpoint.load(number)
            if geometry is None:
                geometry = look(passes(batch))
                checkpoint.store(number, geometry)
            found.append(geometry)
            advance(len(batch))
    return found


def _name(batch: int | str) -> str:
    return batch if isinstance(batch, str) else f"batch-{batch:06}"


def _to_arrays(geometry: BatchGeometry) -> dict[str, np.ndarray]:
    logps = {f"logps.{f.name}": getattr(geometry.logps, f.name) for f in fields(PairLogps)}
    tensors: dict[str, Tensor] = {name: value for name, value in logps.items() if value is not None}
    tensors |= {"gram.matrix": geometry.gram.matrix, "gram.logps": geometry.gram.logps}
    layers = geometry.by_layer
    tensors |= {"ww": layers.chosen_sq_norm, "ll": layers.rejected_sq_norm, "wl": layers.inner_product}
    return {name: value.numpy() for name, value in tensors.items()} | {"blocks": np.array(layers.blocks)}


def _from_arrays(arrays: Mapping[str, np.ndarray]) -> BatchGeometry:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if name != "blocks"}
    logps = PairLogps(**{f.name: tensors.get(f"logps.{f.name}") for f in fields(PairLogps)})  # type: ignore[arg-type]  # chosen and rejected are always kept
    layers = PairGram(tensors["ww"], tensors["ll"], tensors["wl"], tuple(arrays["blocks"].tolist()))
    return BatchGeometry(logps, BatchGram(tensors["gram.matrix"], tensors["gram.logps"]), layers)
