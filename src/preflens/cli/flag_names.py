"""Flags of the command line for the arguments of Python functions."""

from collections.abc import Callable, Mapping
from inspect import signature

from preflens.cli.commands.analyze import analyze_command
from preflens.cli.commands.compare import compare_command

_COMMANDS: Mapping[str, Callable[..., None]] = {"analyze": analyze_command, "compare": compare_command}
# Arguments whose option has another name on the command line.
_RENAMED = {
    "analyze": {"objectives": "objective", "trainable": "parameters", "verify_batches": "verify"},
    "compare": {
        "mitigations": "mitigation", "trainable": "parameters", "held_out": "probe",
        "held_out_fraction": "probe_fraction", "verify_objectives": "verify", "verify_batches": "small_steps",
    },
}  # fmt: skip


def flags_of(command: str | None) -> dict[str, str]:
    """Return the flags of a command by the names of the arguments in Python.

    Args:
        command: name of the command, or None.

    Returns:
        For example `--parameters` for `trainable`. Empty for commands other than `analyze` and `compare`.
    """
    if command is None or command not in _COMMANDS:
        return {}
    renamed = _RENAMED[command]
    same = {name: name for name in signature(_COMMANDS[command]).parameters if name not in renamed.values()}
    return {argument: f"--{option.replace('_', '-')}" for argument, option in (same | renamed).items()}
