"""Finished update batches kept on disk, so that an interrupted analysis goes on where it stopped."""

import shutil
from dataclasses import fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from preflens.analysis.geometry import BatchGeometry
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

    def load(self, batch: int) -> BatchGeometry | None:
        """Return a finished batch.

        Args:
            batch: its number.

        Returns:
            The geometry, or None if it is not there or damaged.
        """
        path = self._path(batch)
        if path is None or not path.is_file():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "blocks"}
                return _from_arrays(tensors, tuple(arrays["blocks"].tolist()))
        except (ValueError, KeyError, OSError, EOFError, BadZipFile):
            return None

    def store(self, batch: int, geometry: BatchGeometry) -> None:
        """Keep a finished batch.

        Args:
            batch: its number.
            geometry: what was found.
        """
        path = self._path(batch)
        if path is not None:
            write_atomically(path, lambda place: np.savez(place, allow_pickle=False, **_to_arrays(geometry)))

    def clear(self) -> None:
        """Forget everything: the run is complete."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, batch: int) -> Path | None:
        return None if self._folder is None else self._folder / f"batch-{batch:06}.npz"


def _to_arrays(geometry: BatchGeometry) -> dict[str, np.ndarray]:
    logps = {f"logps.{f.name}": getattr(geometry.logps, f.name) for f in fields(PairLogps)}
    tensors: dict[str, Tensor] = {name: value for name, value in logps.items() if value is not None}
    tensors |= {"gram.matrix": geometry.gram.matrix, "gram.logps": geometry.gram.logps}
    layers = geometry.by_layer
    tensors |= {"ww": layers.chosen_sq_norm, "ll": layers.rejected_sq_norm, "wl": layers.inner_product}
    return {name: value.numpy() for name, value in tensors.items()} | {"blocks": np.array(layers.blocks)}


def _from_arrays(tensors: dict[str, Tensor], blocks: tuple[str, ...]) -> BatchGeometry:
    logps = PairLogps(**{f.name: tensors.get(f"logps.{f.name}") for f in fields(PairLogps)})  # type: ignore[arg-type]  # chosen and rejected are always kept
    layers = PairGram(tensors["ww"], tensors["ll"], tensors["wl"], blocks)
    return BatchGeometry(logps, BatchGram(tensors["gram.matrix"], tensors["gram.logps"]), layers)
