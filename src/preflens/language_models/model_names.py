"""Names under which models and data sets are asked for: folders and hub ids, and what is said when they fail."""

import json
from pathlib import Path

from safetensors import SafetensorError

from preflens.errors import InputError

# What from_pretrained raises for a name, folder or file that is not as expected.
LOADING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError)
# Where an adapter says what it is.
ADAPTER_FILE = "adapter_config.json"
# What torch says first of weights that do not fit; which they are follows.
_TITLE = "Error(s) in loading state_dict"


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
    if is_adapter(name) and needed != ADAPTER_FILE:
        raise InputError(adapter_alone(name))
    if folder.is_dir() and not (folder / needed).is_file():
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "nothing"
        raise InputError(f"The folder `{name}` holds no {what.split()[-1]}: {needed} is missing. Found {found}.")
    if not folder.exists() and (name.startswith((".", "/", "~")) or name.count("/") > 1):
        raise InputError(f"There is no folder `{name}` to load {what} from.")


def is_adapter(name: str) -> bool:
    """Tell whether a folder holds an adapter and no model.

    Args:
        name: hub id or folder.

    Returns:
        False for what is no folder here.
    """
    folder = Path(name)
    return (folder / ADAPTER_FILE).is_file() and not (folder / "config.json").is_file()


def adapter_alone(name: str) -> str:
    """Say what to do with an adapter that was given as a model.

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
    """Return the first line of what a library says that says something, without its full stop.

    Args:
        error: what was raised.

    Returns:
        One line.
    """
    if isinstance(error, KeyError) and error.args:
        return f"`{error.args[0]}` is missing"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    found = lines[1] if lines[0].startswith(_TITLE) and len(lines) > 1 else lines[0]
    return found.strip().rstrip(".")
