"""Names of models: folders and hub ids, and the messages for names that cannot be loaded."""

import json
from pathlib import Path

from safetensors import SafetensorError

from preflens.errors import InputError

# Exceptions of from_pretrained for a name, folder or file that is not as expected.
LOADING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError)
# The file that marks a folder as an adapter.
ADAPTER_FILE = "adapter_config.json"
# First line of torch's error about weights that do not fit; their names follow.
_TITLE = "Error(s) in loading state_dict"


def check_folder(name: str, needed: str, what: str) -> None:
    """Raise if a path has no such content; names that may be hub ids pass.

    Args:
        name: hub id or folder.
        needed: a file that such a folder has.
        what: the kind of content with its article, for messages.

    Raises:
        InputError: the folder does not exist, or does not have the file.
    """
    folder = Path(name)
    if is_adapter(name) and needed != ADAPTER_FILE:
        raise InputError(adapter_alone(name))
    if folder.is_dir() and not (folder / needed).is_file():
        names = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        raise InputError(f"The folder `{name}` holds no {what.split()[-1]}: {needed} is missing. Found {names}.")
    if not folder.exists() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise InputError(f"There is no folder `{name}` to load {what} from.")


def is_adapter(name: str) -> bool:
    """Return whether a folder contains an adapter and no model.

    Args:
        name: hub id or folder.

    Returns:
        False for names that are not local folders.
    """
    folder = Path(name)
    return (folder / ADAPTER_FILE).is_file() and not (folder / "config.json").is_file()


def adapter_alone(name: str) -> str:
    """Return the message about an adapter that was passed as a model.

    Args:
        name: hub id or folder.

    Returns:
        The message.
    """
    try:
        base = json.loads((Path(name) / ADAPTER_FILE).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    known = f" (it says `{base}`)" if base else ""
    return (
        f"`{name}` holds an adapter, not a whole model. Pass the model that it was trained on{known} as `--model`, and "
        f"`--adapter {name}`."
    )


def first_line(error: BaseException) -> str:
    """Return the first informative line of a library's error message, without its full stop.

    Args:
        error: the exception.

    Returns:
        One line.
    """
    if isinstance(error, KeyError) and error.args:
        return f"`{error.args[0]}` is missing"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = lines[1] if lines[0].startswith(_TITLE) and len(lines) > 1 else lines[0]
    return line.strip().rstrip(".")
