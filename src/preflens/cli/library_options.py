"""From the options of a command to its output folder and to the option objects of `analyze` and `compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from preflens.analysis.options import RunOptions, StepOptions
from preflens.errors import InputError
from preflens.records.lock import refuse_if_locked
from preflens.records.storage import output_folder


def prepare_output(out: Path, files: Sequence[str], *, unfinished: str) -> None:
    """Create the output folder. Refuse one that is not writable or that another run uses.

    Args:
        out: the folder.
        files: names of the files that the command writes.
        unfinished: name of the folder of finished parts in it.
    """
    output_folder(out, files)
    refuse_if_locked(out / unfinished)


def step_options(parameters: str, adapter: str | None, *, learning_rate: float, update_batch_size: int) -> StepOptions:
    """Return the step that a command predicts.

    Args:
        parameters: which parameters step. Empty for `lora` with an adapter, else `all`.
        adapter: name of the adapter, or None.
        learning_rate: η.
        update_batch_size: pairs that share a step, at most.

    Returns:
        The option object.
    """
    trainable = parameters or ("lora" if adapter else "all")
    return StepOptions(trainable=trainable, learning_rate=learning_rate, update_batch_size=update_batch_size)


def run_options(out: Path, *, discard: bool, micro_batch: str, progress: bool) -> RunOptions:
    """Return where a command saves its results, and what it may take.

    Args:
        out: folder for the results.
        discard: delete what an unfinished run has left there.
        micro_batch: `auto`, or a number of pairs.
        progress: show progress bars.

    Returns:
        The option object.
    """
    return RunOptions(out=out, discard=discard, micro_batch=micro_batch_size(micro_batch), progress=progress)


def micro_batch_size(text: str) -> int | Literal["auto"]:
    """Parse `--micro-batch`.

    Args:
        text: `auto`, or a number.

    Returns:
        The word or the number.

    Raises:
        InputError: it is neither.
    """
    if text == "auto":
        return "auto"
    if text.isdecimal():
        return int(text)
    raise InputError(f"`--micro-batch` should be `auto` or a number of pairs. Found `{text}`.")


def step_numbers(text: str) -> list[int]:
    """Parse `--horizon`.

    Args:
        text: numbers with commas between them.

    Returns:
        The numbers, in the order of the text.

    Raises:
        InputError: there is none, or a part is no number.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise InputError(f"`--horizon` should hold numbers of steps, like 1,10,100. Found `{text}`.")
    return [int(part) for part in parts]
