"""The unfinished run of an output folder: one at a time, kept until its results are saved or a user discards it."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from preflens.analysis.measurement.checkpoint import Checkpoint
from preflens.analysis.measurement.run_identity import Trait, Traits, differences
from preflens.analysis.measurement.sealed_arrays import digest
from preflens.errors import InputError
from preflens.records.json_codec import from_json, to_json
from preflens.records.lock import LOCK, folder_lock
from preflens.records.storage import output_folder, write_atomically

LOGGER = logging.getLogger("preflens")
_DESCRIPTION = "run.json"  # the run that the parts belong to
_SAVED = "saved.json"  # its name once the results are saved and the parts are no longer needed
_ADVICE = "choose another output folder, or delete it with `discard=True` (`--discard`)."


@dataclass(frozen=True)
class _Description:
    begun: str
    command: str | None
    memory: float
    traits: dict[str, Trait]


@contextmanager
def unfinished_run(
    out: str | Path | None, name: str, *, files: Sequence[str], discard: bool, command: str | None
) -> Iterator["UnfinishedRun"]:
    """Lock an output folder during a run. However the run ends, its finished parts stay.

    Args:
        out: the output folder. None keeps nothing.
        name: name of the folder of parts in it.
        files: file names of the results.
        discard: delete the parts of an unfinished run.
        command: command line of this run, or None.

    Yields:
        The run. Call `clear` when its results are saved.

    Raises:
        InputError: another process uses the folder, or it cannot be written. The message names the parts that stay.
        KeyboardInterrupt: raised inside. The parts that stay are logged first.
    """
    if out is None:
        yield UnfinishedRun(None)
        return
    folder = output_folder(Path(out), files) / name
    with folder_lock(folder):
        run = UnfinishedRun(folder, discard=discard, command=command)
        try:
            yield run
        except KeyboardInterrupt:
            LOGGER.info("Stopped. %s", run.kept_parts_message())
            raise
        except InputError as error:
            raise InputError(f"{error} {run.kept_parts_message()}".rstrip(), arguments=error.arguments) from error
        finally:
            if not run.parts():
                run.clear()


class UnfinishedRun:
    """The finished parts of one run, until its results are saved.

    Args:
        folder: locked folder of the parts. None keeps nothing.
        discard: delete existing parts.
        command: command line of this run, or None.
    """

    def __init__(self, folder: Path | None, *, discard: bool = False, command: str | None = None) -> None:
        self._folder, self._discard, self._command, self._begun = folder, discard, command, False

    def begin(self, traits: Traits, *, memory: float) -> tuple[Checkpoint, float]:
        """Continue an unfinished run, or begin a new one.

        Args:
            traits: traits of this run.
            memory: bytes that passes may take, from the memory that is free now.

        Returns:
            The checkpoint, and the bytes that passes may take. A continued run keeps its own number, because sums over
            other passes are rounded differently.
        """
        if self._folder is None:
            return Checkpoint(None, ""), memory
        usable = self.parts() and not self._discard and not (self._folder / _SAVED).exists()
        if usable:
            memory = self._continue(self._folder, traits, memory)
        else:
            self._begin_new(self._folder, traits, memory)
        self._begun = True
        key = digest(to_json({name: trait.content for name, trait in sorted(traits.items())}).encode())
        return Checkpoint(self._folder, key), memory

    def parts(self) -> list[Path]:
        """Return all entries of the folder except the files of this class: finished parts, or files of a user."""
        if self._folder is None or not self._folder.is_dir():
            return []
        own_files = {_DESCRIPTION, _SAVED, LOCK}
        return [p for p in self._folder.iterdir() if p.name not in own_files and not p.name.startswith(".")]

    def clear(self) -> None:
        """Delete everything, because the results are saved or there are no parts."""
        if self._folder is None:
            return
        try:
            if (self._folder / _DESCRIPTION).exists():
                (self._folder / _DESCRIPTION).replace(self._folder / _SAVED)
            _remove(self._folder)
            (self._folder / LOCK).unlink(missing_ok=True)
        except OSError as error:
            LOGGER.warning("`%s` is no longer needed and cannot be removed: %s.", self._folder, error.strerror or error)

    def kept_parts_message(self) -> str:
        """Return a sentence about the parts that are kept, or an empty text if there are none."""
        if not (self._begun and self.parts()):
            return ""
        return f"{self._count_message()} in `{self._folder}`; the same command continues from there."

    def _continue(self, folder: Path, traits: Traits, memory: float) -> float:
        description = _read(folder)
        if changes := differences(traits, description.traits):
            finish = (
                f"Finish it by `{description.command}`" if description.command else "Finish it with its own arguments"
            )
            raise InputError(
                f"`{folder}` holds an unfinished run, begun {description.begun}, that is not this one: "
                f"{'; '.join(changes)}. {finish}, {_ADVICE}"
            )
        for path in folder.glob(".*"):  # left by a process that was killed while writing
            path.unlink()
        LOGGER.info(
            "Continuing the unfinished run begun %s: %s in `%s`.", description.begun, self._count_message(), folder
        )
        if description.memory <= 2 * memory:  # passes are planned with half of what they may take
            return description.memory
        LOGGER.warning("Much less memory is free than when the run began, so the last digits may differ.")
        return memory

    def _begin_new(self, folder: Path, traits: Traits, memory: float) -> None:
        if self._discard and self.parts():
            LOGGER.info("Deleting the unfinished run in `%s`: %s.", folder, self._count_message())
        try:
            _remove(folder)
        except OSError as error:
            raise InputError(f"Cannot empty `{folder}`: {error.strerror or error}. Choose another folder.") from error
        begun = datetime.now(UTC).isoformat(timespec="seconds")
        text = to_json(_Description(begun, self._command, memory, dict(traits)))
        write_atomically(folder / _DESCRIPTION, lambda path: path.write_text(text, encoding="utf-8"))

    def _count_message(self) -> str:
        count = len(self.parts())
        return f"{count} finished part{'s' * (count != 1)}"


def _read(folder: Path) -> _Description:
    try:
        return from_json(_Description, (folder / _DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"`{folder}` holds parts of a run, and {_DESCRIPTION}, which describes the run, is missing or cannot be "
            f"read: {_ADVICE}"
        ) from None


def _remove(folder: Path) -> None:
    """Remove everything except the lock. The file that marks the parts as no longer needed goes last."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == _SAVED):
        if path.name == LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
