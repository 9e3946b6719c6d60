"""The state of a mitigation from step to step, saved with a run's checkpoints and loaded when the run resumes."""

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

STATE_FILE = "mitigation.safetensors"
MitigationState = MovingAverages | LearnedMasks | Tensor  # the tensor: the state of a random generator


class StateSaver(TrainerCallback):
    """Saves the state of a mitigation with every checkpoint.

    Args:
        state: returns it; called when a checkpoint is written.
    """

    def __init__(self, state: Callable[[], MitigationState | None]) -> None:
        self._state = state

    def on_save(self, args: Any, state: Any, *_: object, **__: object) -> None:  # noqa: ANN401  # transformers'
        """Write the state into the checkpoint's folder."""
        folder, to_save = Path(args.output_dir) / f"checkpoint-{state.global_step}", self._state()
        if state.is_world_process_zero and to_save is not None and folder.is_dir():
            save_state(to_save, folder)


def save_state(state: MitigationState, folder: Path) -> None:
    """Write the state of a mitigation.

    Args:
        state: moving averages, learned masks, or the state of a random generator.
        folder: of a checkpoint.
    """
    if isinstance(state, MovingAverages):
        tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in state.logs.items()}
        metadata = {"kind": "averages", "updates": str(state.updates)}
    elif isinstance(state, LearnedMasks):
        pairs = state.masks.items()
        tensors = {f"{key}.{side}": mask for key, masks in pairs for side, mask in zip(SIDES, masks, strict=True)}
        metadata = {"kind": "masks", "updates": str(state.updates)}
    else:
        tensors, metadata = {"generator": state}, {"kind": "generator"}
    write_atomically(folder / STATE_FILE, lambda path: save_file(tensors, path, metadata=metadata))


def load_state(folder: Path) -> MitigationState | None:
    """Read the state of a mitigation.

    Args:
        folder: of a checkpoint.

    Returns:
        The state; None where the checkpoint has none.

    Raises:
        InputError: the file is damaged.
    """
    if not (folder / STATE_FILE).is_file():
        return None
    try:
        with safe_open(folder / STATE_FILE, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        if metadata["kind"] == "generator":
            generator: Tensor = tensors["generator"]
            return generator
        updates = int(metadata["updates"])
        if metadata["kind"] == "averages":
            return MovingAverages({name: float(value) for name, value in tensors.items()}, updates)
        keys = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
        return LearnedMasks({key: (tensors[f"{key}.chosen"], tensors[f"{key}.rejected"]) for key in keys}, updates)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"`{folder / STATE_FILE}` does not hold the state of a mitigation: {error}. Delete it to start without a "
            "saved state."
        ) from error
