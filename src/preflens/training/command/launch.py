"""Start a run through `accelerate launch`, as TRL's commands do."""

import logging
import subprocess
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate.commands.config.config_args import default_config_file
from accelerate.commands.launch import launch_command, launch_command_parser
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from trl.cli.accelerate_config import resolve_accelerate_config_argument

from preflens.errors import InputError
from preflens.language_models.model_names import first_line
from preflens.records.storage import output_folder
from preflens.training.command.configuration import Configuration, option_names, read_configuration
from preflens.training.command.validation import check_configuration

_SCRIPT = "preflens.training.command.main"
# Flags that exclude `--cpu`, or read such a choice from a file.
_DEVICE_FLAGS = ("--config_file", "--multi_gpu", "--cpu", "--use_cpu", "--tpu", "--use_deepspeed", "--use_fsdp")


def launch_training(flags: Sequence[str]) -> int:
    """Run the training script in the processes that accelerate starts.

    Everything that can be checked without loading model and data is checked here first.

    Args:
        flags: of the command line.

    Returns:
        The exit code.

    Raises:
        InputError: a flag, the file or a value cannot be used.
    """
    configuration = read_configuration(flags)
    arguments = launcher_arguments(configuration)
    check_configuration(configuration)
    output_folder(Path(configuration.run.output_dir))
    logging.getLogger("accelerate.commands.launch").setLevel(logging.ERROR)  # it would print its defaults
    try:
        launch_command(arguments)
    except subprocess.CalledProcessError as error:
        return error.returncode
    except ChildFailedError as error:
        return max(failure.exitcode for failure in error.failures.values())
    except ValueError as error:
        raise InputError(f"`accelerate launch` refuses: {first_line(error)}.") from None
    return 0


def launcher_arguments(configuration: Configuration) -> Any:  # noqa: ANN401  # argparse's Namespace
    """Parse the flags of `accelerate launch`.

    Args:
        configuration: of the run.

    Returns:
        The launcher's arguments, with our script and its flags.

    Raises:
        InputError: a name belongs neither to the launcher nor to training.
    """
    parser = launch_command_parser()
    parser.error = _refuse
    known = {name: action for action in parser._actions for name in action.option_strings}
    words = list(configuration.launcher_flags)
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--") and name not in known and name != "--accelerate_config":
            raise InputError(f"Unknown option `{name}`.{_suggestion(name, known)} `preflens train --help` says more.")
    try:
        flags = resolve_accelerate_config_argument(_switches(words, known))
    except ValueError as error:
        raise InputError(f"{first_line(error)}.") from None
    has_device = Path(default_config_file).is_file() or any(flag in _DEVICE_FLAGS for flag in flags)
    if not torch.accelerator.is_available() and not has_device:
        # Without `--cpu` accelerate gives each process one thread.
        flags = ["--cpu", *([] if "--num_processes" in flags else ["--num_processes", "1"]), *flags]
    arguments = parser.parse_args([*flags, "--module", _SCRIPT, *configuration.script_flags])
    if arguments.training_script != _SCRIPT:
        raise InputError(f"`{arguments.training_script}` has no option before it: expected the name of an option.")
    return arguments


def _switches(words: Sequence[str], known: dict[str, Any]) -> list[str]:
    """Names and values for the launcher, where switches have no value, other than in a file."""
    flags: list[str] = []
    for word in words:
        is_after_switch = flags and flags[-1] in known and known[flags[-1]].nargs == 0
        if not (is_after_switch and word in {"True", "False"}):
            flags.append(word)
        elif word == "False":
            flags.pop()
    return flags


def _suggestion(name: str, known: dict[str, Any]) -> str:
    close = get_close_matches(name, [*option_names(), *known], n=2)
    return f" Did you mean {' or '.join(f'`{match}`' for match in close)}?" if close else ""


def _refuse(message: str) -> NoReturn:
    raise InputError(f"{message[:1].upper()}{message[1:]}.")
