"""Starting a run through `accelerate launch`, as TRL's commands do."""

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
# What accelerate cannot have beside `--cpu`, or reads from a file.
_PLACES = ("--config_file", "--multi_gpu", "--cpu", "--use_cpu", "--tpu", "--use_deepspeed", "--use_fsdp")


def launch_training(flags: Sequence[str]) -> int:
    """Run a training script in the processes that accelerate starts.

    Whatever can be checked without loading model and data is checked here, before that.

    Args:
        flags: of the command line.

    Returns:
        The exit code.

    Raises:
        InputError: a flag, the file or a value is not what it should be.
    """
    configuration = read_configuration(flags)
    arguments = launcher_arguments(configuration)
    check_configuration(configuration)
    output_folder(Path(configuration.run.output_dir))
    logging.getLogger("accelerate.commands.launch").setLevel(logging.ERROR)  # it would list its defaults
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
    """Read what is meant for `accelerate launch`.

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
    found = list(configuration.for_launcher)
    for word in found:
        name = word.partition("=")[0]
        if name.startswith("--") and name not in known and name != "--accelerate_config":
            raise InputError(f"Unknown option `{name}`.{_suggestion(name, known)} `preflens train --help` says more.")
    try:
        wanted = resolve_accelerate_config_argument(_switches(found, known))
    except ValueError as error:
        raise InputError(f"{first_line(error)}.") from None
    planned = Path(default_config_file).is_file() or any(word in _PLACES for word in wanted)
    if not torch.accelerator.is_available() and not planned:
        # Without `--cpu` accelerate allows a process one thread.
        wanted = ["--cpu", *([] if "--num_processes" in wanted else ["--num_processes", "1"]), *wanted]
    arguments = parser.parse_args([*wanted, "--module", _SCRIPT, *configuration.for_script])
    if arguments.training_script != _SCRIPT:
        raise InputError(f"`{arguments.training_script}` stands alone: expected the name of an option before it.")
    return arguments


def _switches(words: Sequence[str], known: dict[str, Any]) -> list[str]:
    """Names and values as the launcher wants them: what a file switches on has no value there."""
    found: list[str] = []
    for word in words:
        switch = found and found[-1] in known and known[found[-1]].nargs == 0
        if not (switch and word in {"True", "False"}):
            found.append(word)
        elif word == "False":
            found.pop()
    return found


def _suggestion(name: str, known: dict[str, Any]) -> str:
    close = get_close_matches(name, [*option_names(), *known], n=2)
    return f" Did you mean {' or '.join(f'`{match}`' for match in close)}?" if close else ""


def _refuse(message: str) -> NoReturn:
    raise InputError(f"{message[:1].upper()}{message[1:]}.")
