"""What a mitigation remembers from step to step, saved with a run's checkpoints and read again when it goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import TrainerCallback

from preflens.errors import InputError
from preflens.mitigations import LearnedMasks, MovingAverages
from preflens.records.storage import write_atomically
from preflens.types import SIDES

FILE = "mitigation.safetensors"
Memory = MovingAverages | LearnedMasks | Tensor  # the tensor: the state of a random generator


class StateSaver(TrainerCallback):
    """Saves the memory with every checkpoint.

    Args:
        memory: asked for it when a checkpoint is made.
    """

    def __init__(self, memory: Callable[[], Memory | None]) -> None:
        self._memory = memory

    def on_save(self, args: Any, state: Any, *_: object, **__: object) -> None:  # noqa: ANN401  # transformers'
        """Write it into the checkpoint's folder."""
        folder, memory = Path(args.output_dir) / f"checkpoint-{state.global_step}", self._memory()
        if state.is_world_process_zero and memory is not None and folder.is_dir():
            save_memory(memory, folder)


def save_memory(memory: Memory, folder: Path) -> None:
    """Write what a mitigation remembers.

    Args:
        memory: of it.
        folder: of a checkpoint.
    """
    if isinstance(memory, MovingAverages):
        tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in memory.logs.items()}
        about = {"kind": "averages", "updates": str(memory.updates)}
    elif isinstance(memory, LearnedMasks):
        pairs = memory.masks.items()
        tensors = {f"{key}.{side}": mask for key, both in pairs for side, mask in zip(SIDES, both, strict=True)}
        about = {"kind": "masks", "updates": str(memory.updates)}
    else:
        tensors, about = {"generator": memory}, {"kind": "generator"}
    write_atomically(folder / FILE, lambda path: save_file(tensors, path, metadata=about))


def load_memory(folder: Path) -> Memory | None:
    """Read what a mitigation remembered.

    Args:
        folder: of a checkpoint.

    Returns:
        The memory; None where the checkpoint has none.

    Raises:
        InputError: the file is damaged.
    """
    if not (folder / FILE).is_file():
        return None
    try:
        with safe_open(folder / FILE, "pt") as file:
            about, found = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        if about["kind"] == "generator":
            generator: Tensor = found["generator"]
            return generator
        updates = int(about["updates"])
        if about["kind"] == "averages":
            return MovingAverages({name: float(value) for name, value in found.items()}, updates)
        keys = dict.fromkeys(name.rpartition(".")[0] for name in found)
        return LearnedMasks({key: (found[f"{key}.chosen"], found[f"{key}.rejected"]) for key in keys}, updates)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"`{folder / FILE}` does not hold what a mitigation remembers: {error}. Delete it to begin its memory anew."
        ) from error
