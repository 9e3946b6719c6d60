"""Settings of recipes and YAML files, told from the flags beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from preflens.errors import InputError
from preflens.language_models.names import first_line
from preflens.recipes import recipe_text


def settings_and_flags(flags: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Read what `--recipe` and `--config` name.

    Args:
        flags: of the command line.

    Returns:
        All other flags; and the settings, those of a file over those of a recipe.

    Raises:
        InputError: a file is not there, or holds no settings.
    """
    rest, files = _without_files(flags)
    settings: dict[str, Any] = {}
    for name, where in files:
        settings |= _settings(recipe_text(where) if name == "--recipe" else _text(where), f"{name[2:]} `{where}`")
    return rest, settings


def _without_files(flags: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Split flags into those that name a recipe or a file, recipes first, and all others."""
    rest, files, waiting = [], [], list(flags)
    while waiting:
        name, is_joined, value = waiting.pop(0).partition("=")
        if name not in {"--config", "--recipe"}:
            rest.append(name + is_joined + value)
            continue
        if not is_joined:
            if not waiting:
                raise InputError(f"`{name}` needs a value after it.")
            value = waiting.pop(0)
        files.append((name, value))
    return rest, sorted(files, key=lambda found: found[0] == "--config")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise InputError(f"The configuration `{path}` cannot be read: {reason}.") from None


def _settings(text: str, what: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"The {what} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise InputError(f"The {what} should hold lines like `learning_rate: 1e-6`. Found {type(found).__name__}.")
    if not isinstance(found.get("env", {}), dict):
        raise InputError(f"`env` of the {what} should hold lines like `NAME: value`.")
    return found
