"""The unfinished run of an output folder: one at a time, kept until its results are saved, not thrown away unasked."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from preflens.analysis.measurement.checkpoint import Checkpoint, digest
from preflens.analysis.measurement.run_identity import Trait, Traits, differences
from preflens.errors import InputError
from preflens.records.json_codec import from_json, to_json
from preflens.records.lock import LOCK, folder_lock
from preflens.records.storage import output_folder, write_atomically

LOGGER = logging.getLogger("preflens")
_ABOUT = "run.json"  # what the parts belong to
_SAVED = "saved.json"  # its name as soon as the results are saved and the parts are of no use
_WHAT_TO_DO = "choose another output folder, or throw it away with `discard=True` (`--discard`)."


@dataclass(frozen=True)
class _About:
    begun: str
    command: str | None
    memory: float
    traits: dict[str, Trait]


@contextmanager
def unfinished_run(
    out: str | Path | None, name: str, *, files: Sequence[str], discard: bool, command: str | None
) -> Iterator["UnfinishedRun"]:
    """Have an output folder to oneself while a run is made; whatever ends it, its finished parts stay.

    Args:
        out: the output folder; None keeps nothing.
        name: of the folder of parts in it.
        files: names of the results.
        discard: throw away the parts of a run that is there.
        command: command line of this run, or None.

    Yields:
        The run, to be cleared when its results are saved.

    Raises:
        InputError: another process is at work there, or it cannot be written there; what stays is said too.
        KeyboardInterrupt: from within; what stays is said first.
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
            LOGGER.info("Stopped. %s", run.what_stays())
            raise
        except InputError as error:
            raise InputError(f"{error} {run.what_stays()}".rstrip(), arguments=error.arguments) from error
        finally:
            if not run.parts():
                run.clear()


class UnfinishedRun:
    """The parts of one run, between its first pass and the moment when its results are saved.

    Args:
        folder: of the parts, locked; None keeps nothing.
        discard: throw away what is there.
        command: command line of this run, or None.
    """

    def __init__(self, folder: Path | None, *, discard: bool = False, command: str | None = None) -> None:
        self._folder, self._discard, self._command, self._begun = folder, discard, command, False

    def begin(self, traits: Traits, *, memory: float) -> tuple[Checkpoint, float]:
        """Go on with what is there, or begin anew.

        Args:
            traits: of this run.
            memory: bytes that passes may take, by what is free at the moment.

        Returns:
            Where parts are kept, and the bytes that passes may take: those of the run that is gone on with, because
            numbers that are added up in other passes are rounded otherwise.
        """
        if self._folder is None:
            return Checkpoint(None, ""), memory
        of_use = self.parts() and not self._discard and not (self._folder / _SAVED).exists()
        if of_use:
            memory = self._go_on(self._folder, traits, memory)
        else:
            self._begin_anew(self._folder, traits, memory)
        self._begun = True
        key = digest(to_json({name: trait.content for name, trait in sorted(traits.items())}).encode())
        return Checkpoint(self._folder, key), memory

    def parts(self) -> list[Path]:
        """Return what is there beside the files of this class: finished parts, or what a user has put there."""
        if self._folder is None or not self._folder.is_dir():
            return []
        ours = {_ABOUT, _SAVED, LOCK}
        return [p for p in self._folder.iterdir() if p.name not in ours and not p.name.startswith(".")]

    def clear(self) -> None:
        """Forget everything: the results are saved, or there is nothing to lose."""
        if self._folder is None:
            return
        try:
            if (self._folder / _ABOUT).exists():
                (self._folder / _ABOUT).replace(self._folder / _SAVED)
            _remove(self._folder)
            (self._folder / LOCK).unlink(missing_ok=True)
        except OSError as error:
            LOGGER.warning("`%s` is of no more use and cannot be removed: %s.", self._folder, error.strerror or error)

    def what_stays(self) -> str:
        """Return a sentence on what is kept for the next time; nothing where there is none."""
        if not (self._begun and self.parts()):
            return ""
        return f"{self._how_many()} in `{self._folder}`; the same command goes on from there."

    def _go_on(self, folder: Path, traits: Traits, memory: float) -> float:
        about = _read(folder)
        if found := differences(traits, about.traits):
            finish = f"Finish it by `{about.command}`" if about.command else "Finish it with its own arguments"
            raise InputError(
                f"`{folder}` holds an unfinished run, begun {about.begun}, that is not this one: {'; '.join(found)}. "
                f"{finish}, {_WHAT_TO_DO}"
            )
        for path in folder.glob(".*"):  # left by a process that was killed while it wrote
            path.unlink()
        LOGGER.info("Going on with the unfinished run begun %s: %s in `%s`.", about.begun, self._how_many(), folder)
        if about.memory <= 2 * memory:  # passes are planned with half of what they may take
            return about.memory
        LOGGER.warning("Much less memory is free than when the run began: last digits may come out otherwise.")
        return memory

    def _begin_anew(self, folder: Path, traits: Traits, memory: float) -> None:
        if self._discard and self.parts():
            LOGGER.info("Throwing away the unfinished run in `%s`: %s.", folder, self._how_many())
        try:
            _remove(folder)
        except OSError as error:
            raise InputError(f"Cannot empty `{folder}`: {error.strerror or error}. Choose another folder.") from error
        begun = datetime.now(UTC).isoformat(timespec="seconds")
        text = to_json(_About(begun, self._command, memory, dict(traits)))
        write_atomically(folder / _ABOUT, lambda path: path.write_text(text, encoding="utf-8"))

    def _how_many(self) -> str:
        count = len(self.parts())
        return f"{count} finished part{'s' * (count != 1)}"


def _read(folder: Path) -> _About:
    try:
        return from_json(_About, (folder / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"`{folder}` holds parts of a run, and {_ABOUT}, which tells of which, is not there or cannot be read: "
            f"{_WHAT_TO_DO}"
        ) from None


def _remove(folder: Path) -> None:
    """Remove everything but the lock; what says that the rest is of no use goes last."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == _SAVED):
        if path.name == LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
