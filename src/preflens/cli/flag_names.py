"""What arguments of Python functions are called on the command line."""

from collections.abc import Callable, Mapping
from inspect import signature

from preflens.cli.commands.analyze import analyze_command
from preflens.cli.commands.compare import compare_command

_COMMANDS: Mapping[str, Callable[..., None]] = {"analyze": analyze_command, "compare": compare_command}
# Where a command's option is not called as the argument of the function that it is for.
_OTHERWISE = {"analyze": {"objectives": "objective"}, "compare": {"mitigations": "mitigation"}}


def flags_of(command: str | None) -> dict[str, str]:
    """Return the flags of a command by the names that arguments have in Python.

    Args:
        command: its name; None for no command.

    Returns:
        For example `--max-length` for `max_length`; nothing for commands that call no function with arguments.
    """
    if command is None or command not in _COMMANDS:
        return {}
    names = {name: name for name in signature(_COMMANDS[command]).parameters} | _OTHERWISE[command]
    return {argument: f"--{option.replace('_', '-')}" for argument, option in names.items()}
