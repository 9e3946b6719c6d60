"""The configuration of a run: a recipe, then a YAML file, then flags, each over those before it."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from transformers.utils.import_utils import is_torch_bf16_gpu_available
from trl import DatasetMixtureConfig, DPOConfig, ModelConfig, ScriptArguments, TrlParser

from preflens.errors import InputError
from preflens.language_models.model_names import first_line
from preflens.train_config.options import TrainOptions
from preflens.train_config.recipes import recipe_text


@dataclass(frozen=True)
class Configuration:
    """Everything that says what a run is.

    Attributes:
        options: ours.
        script: TRL's, of where data lie.
        run: TRL's, of the training itself.
        model: TRL's, of model, adapter and quantisation.
        mixture: TRL's, of several data sets.
        for_launcher: names and values that are none of these, from file and flags; `accelerate launch` may know them.
        for_script: the flags that are.
    """

    options: TrainOptions
    script: Any  # Any, here and below: trl is not annotated
    run: Any
    model: Any
    mixture: Any
    for_launcher: tuple[str, ...]
    for_script: tuple[str, ...]


class _Parser(TrlParser):  # type: ignore[misc]  # trl is not annotated
    """TRL's parser, without abbreviations, and with errors that are one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}.")


def read_configuration(flags: Sequence[str]) -> Configuration:
    """Read the configuration of a run.

    On a machine without an accelerator the defaults are `use_cpu` and no `bf16`, where TRL's would stop.

    Args:
        flags: of the command line; `--recipe` and `--config` among them.

    Returns:
        The configuration.

    Raises:
        InputError: a file cannot be read, or a value cannot be used.
    """
    rest, settings = settings_and_flags(flags)
    os.environ.update({key: str(value) for key, value in settings.pop("env", {}).items()})
    parser = _parser()
    parser.set_defaults(**machine_defaults())
    unknown = parser.set_defaults_with_config(**_as_flags(parser, settings))
    parts, remaining = _parsed(parser, rest)
    return Configuration(*parts, (*unknown, *remaining), tuple(_without(flags, remaining)))


def option_names() -> list[str]:
    """Return the names of all options of a training run, ours and TRL's."""
    return [name for action in _parser()._actions for name in action.option_strings if "-" not in name[2:]]


def machine_defaults() -> dict[str, bool]:
    """Return defaults that this machine needs in place of TRL's.

    Returns:
        Names and values; none where TRL's work.
    """
    if is_torch_bf16_gpu_available():
        return {}
    return {"bf16": False} | ({} if torch.accelerator.is_available() else {"use_cpu": True})


def _parser() -> _Parser:
    types = (TrainOptions, ScriptArguments, DPOConfig, ModelConfig, DatasetMixtureConfig)
    return _Parser(types, prog="preflens train", allow_abbrev=False)


def _as_flags(parser: _Parser, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a file spelt as flags are, so that the parser gives them the type of their option."""
    found: dict[str, Any] = {}
    ours = {option.name for option in fields(TrainOptions)}
    choices = {action.dest: action.choices or () for action in parser._actions}
    for name, value in settings.items():
        if name in ours and isinstance(value, (list, dict)):
            raise InputError(f"`{name}` takes one value. Found {value}.")
        scalar = isinstance(value, (bool, int, float))
        # YAML reads `no` as false.
        spelt = "no" if value is False and "no" in choices.get(name, ()) else str(value)
        found[name] = spelt if scalar else value
    return found


def _parsed(parser: _Parser, flags: Sequence[str]) -> tuple[tuple[Any, Any, Any, Any, Any], list[str]]:
    try:
        with warnings.catch_warnings():
            # TRL 1.16 sets an argument that transformers 5.23 spells otherwise
            warnings.filterwarnings("ignore", "`gradient_checkpointing.*` is deprecated", FutureWarning)
            *parts, remaining = parser.parse_args_into_dataclasses(
                args=flags, return_remaining_strings=True, look_for_args_file=False
            )
    except InputError:
        raise
    except (ValueError, TypeError, RuntimeError, ImportError, OSError) as error:
        raise InputError(f"{first_line(error)}.") from None
    ours, script, run, model, mixture = parts
    return (ours, script, run, model, mixture), remaining


def _without(flags: Sequence[str], others: Sequence[str]) -> list[str]:
    """Flags without others, which appear among them in the same order."""
    waiting, kept = list(others), []
    for flag in flags:
        if waiting and flag == waiting[0]:
            waiting.pop(0)
        else:
            kept.append(flag)
    return kept


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
