"""Names under which models and data sets are asked for: folders and hub ids, and what is said when they fail."""

from pathlib import Path

from preflens.errors import InputError

# What from_pretrained raises for a name, folder or file that is not as expected.
LOADING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, ImportError)


def check_folder(name: str, needed: str, what: str) -> None:
    """Refuse a path where nothing of the kind lies; names that may be hub ids pass.

    Args:
        name: hub id or folder.
        needed: file that such a folder has.
        what: with its article, for messages.

    Raises:
        InputError: the folder is not there, or lacks the file.
    """
    folder = Path(name)
    if folder.is_dir() and not (folder / needed).is_file():
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        raise InputError(f"The folder `{name}` holds no {what.split()[-1]}: {needed} is missing. Found {found}.")
    if not folder.exists() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise InputError(f"There is no folder `{name}` to load {what} from.")


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says, without its full stop.

    Args:
        error: what was raised.

    Returns:
        One line.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
