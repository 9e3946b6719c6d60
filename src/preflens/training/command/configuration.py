"""The configuration of a run: flags override the YAML file, which overrides the recipe."""

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


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """All settings of a run.

    Attributes:
        options: those that preflens adds.
        script: TRL's `ScriptArguments`: data sets and splits.
        run: TRL's `DPOConfig`: the training itself.
        model: TRL's `ModelConfig`: model, adapter and quantization.
        mixture: TRL's `DatasetMixtureConfig`: several data sets.
        launcher_flags: names and values that are none of these, from file and flags; `accelerate launch` may know them.
        script_flags: the flags of the command line that are.
    """

    options: TrainOptions
    script: Any  # Any, here and below: trl is not annotated
    run: Any
    model: Any
    mixture: Any
    launcher_flags: tuple[str, ...]
    script_flags: tuple[str, ...]


class _Parser(TrlParser):  # type: ignore[misc]  # trl is not annotated
    """TRL's parser, without abbreviations, and with errors of one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}.")


def read_configuration(flags: Sequence[str]) -> Configuration:
    """Read the configuration of a run.

    On a machine without an accelerator the defaults are `use_cpu` and no `bf16`, because TRL's would fail there.

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
    options, script, run, model, mixture = parts
    return Configuration(
        options=options, script=script, run=run, model=model, mixture=mixture,
        launcher_flags=(*unknown, *remaining), script_flags=tuple(_without(flags, remaining)),
    )  # fmt: skip


def option_names() -> list[str]:
    """Return the names of all options of a training run, those of preflens and of TRL."""
    return [name for action in _parser()._actions for name in action.option_strings if "-" not in name[2:]]


def machine_defaults() -> dict[str, bool]:
    """Return the defaults that replace TRL's on this machine.

    Returns:
        Names and values; empty where TRL's defaults work.
    """
    if is_torch_bf16_gpu_available():
        return {}
    return {"bf16": False} | ({} if torch.accelerator.is_available() else {"use_cpu": True})


def _parser() -> _Parser:
    types = (TrainOptions, ScriptArguments, DPOConfig, ModelConfig, DatasetMixtureConfig)
    return _Parser(types, prog="preflens train", allow_abbrev=False)


def _as_flags(parser: _Parser, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a file as texts, like flags, so that the parser gives them the type of their option."""
    values: dict[str, Any] = {}
    own_names = {option.name for option in fields(TrainOptions)}
    choices = {action.dest: action.choices or () for action in parser._actions}
    for name, value in settings.items():
        if name in own_names and isinstance(value, (list, dict)):
            raise InputError(f"`{name}` takes one value. Found {value}.")
        is_scalar = isinstance(value, (bool, int, float))
        # YAML reads `no` as false.
        text = "no" if value is False and "no" in choices.get(name, ()) else str(value)
        values[name] = text if is_scalar else value
    return values


def _parsed(parser: _Parser, flags: Sequence[str]) -> tuple[tuple[Any, Any, Any, Any, Any], list[str]]:
    try:
        with warnings.catch_warnings():
            # TRL 1.16 sets an argument that transformers 5.23 has deprecated
            warnings.filterwarnings("ignore", "`gradient_checkpointing.*` is deprecated", FutureWarning)
            *parts, remaining = parser.parse_args_into_dataclasses(
                args=flags, return_remaining_strings=True, look_for_args_file=False
            )
    except InputError:
        raise
    except (ValueError, TypeError, RuntimeError, ImportError, OSError) as error:
        raise InputError(f"{first_line(error)}.") from None
    options, script, run, model, mixture = parts
    return (options, script, run, model, mixture), remaining


def _without(flags: Sequence[str], others: Sequence[str]) -> list[str]:
    """Flags without others, which occur among them in the same order."""
    waiting, remaining = list(others), []
    for flag in flags:
        if waiting and flag == waiting[0]:
            waiting.pop(0)
        else:
            remaining.append(flag)
    return remaining


def settings_and_flags(flags: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Read the files that `--recipe` and `--config` name.

    Args:
        flags: of the command line.

    Returns:
        All other flags; and the settings, where those of the file override those of the recipe.

    Raises:
        InputError: a file does not exist, or holds no settings.
    """
    rest, files = _without_files(flags)
    settings: dict[str, Any] = {}
    for name, source in files:
        text = recipe_text(source) if name == "--recipe" else _text(source)
        settings |= _settings(text, f"{name[2:]} `{source}`")
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
    return rest, sorted(files, key=lambda named: named[0] == "--config")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise InputError(f"The configuration `{path}` cannot be read: {reason}.") from None


def _settings(text: str, name: str) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"The {name} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise InputError(f"The {name} should hold lines like `learning_rate: 1e-6`. Found {type(settings).__name__}.")
    if not isinstance(settings.get("env", {}), dict):
        raise InputError(f"`env` of the {name} should hold lines like `NAME: value`.")
    return settings
