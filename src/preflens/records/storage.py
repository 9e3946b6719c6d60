"""Files that are either complete or not there."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from preflens.errors import InputError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there when it is whole.

    Args:
        path: where the file is to stand; its folder exists.
        write: writes the content to the path it is given.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)  # mkstemp makes private files
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def output_folder(path: Path) -> Path:
    """Make a folder for results and prove that it can be written to.

    Args:
        path: the folder; parents are made.

    Returns:
        The same path.

    Raises:
        InputError: something else stands there, or the folder cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(
            f"Cannot write to the output folder `{path}`: {error.strerror or error}. Choose another with `--out`."
        ) from None
    return path
