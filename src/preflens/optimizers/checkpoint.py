"""The optimizer of a checkpoint of transformers' Trainer: its kind, its numbers, the state of every parameter."""

import json
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from preflens.errors import InputError
from preflens.optimizers.first_update import State, decayed_parameters
from preflens.optimizers.settings import ADAFACTOR, ADAMW, RMSPROP, SGD, OptimizerSettings

# Entries of a parameter group that only this kind of optimizer has.
_TELLS = {"betas": ADAMW, "clip_threshold": ADAFACTOR, "centered": RMSPROP, "nesterov": SGD}


@dataclass(frozen=True)
class OptimizerCheckpoint:
    """What a checkpoint says of the next step.

    Attributes:
        settings: the optimizer, with the learning rate of the next step.
        state: of each parameter; empty where the checkpoint has none.
        step: optimizer steps that were made, or None where that is not known.
    """

    settings: OptimizerSettings
    state: State
    step: int | None


def load_optimizer(folder: Path, module: nn.Module, *, default: OptimizerSettings) -> OptimizerCheckpoint:
    """Read a checkpoint's optimizer; nothing in it is unpickled but tensors and plain values.

    Args:
        folder: the checkpoint, as `Trainer` writes it.
        module: the model, its trainable parameters those that step.
        default: what holds where the checkpoint has no optimizer, and for clipping, which no checkpoint states.

    Returns:
        The optimizer; fresh where `optimizer.pt` is missing.

    Raises:
        InputError: a file cannot be read, or its state does not fit the model's trainable parameters.
    """
    step = _steps_made(folder)
    saved = _read(folder / "optimizer.pt")
    rate = _rate(folder)
    if saved is None:
        return OptimizerCheckpoint(default if rate is None else _with(default, learning_rate=rate), {}, step)
    groups = saved["param_groups"]
    if not groups or (kind := next((name for entry, name in _TELLS.items() if entry in groups[0]), None)) is None:
        raise InputError(
            f"`{folder / 'optimizer.pt'}` is of an optimizer that preflens does not know: AdamW, SGD, RMSprop and "
            "Adafactor can be read. Name one with its numbers instead of the checkpoint."
        )
    settings = _settings(kind, groups, groups[0]["lr"] if rate is None else rate, default)
    return OptimizerCheckpoint(settings, _states(folder, module, saved), step)


def _with(settings: OptimizerSettings, **values: Any) -> OptimizerSettings:  # noqa: ANN401  # numbers of settings
    return OptimizerSettings(**{**vars(settings), **values})


def _settings(kind: str, groups: list[dict[str, Any]], rate: float, default: OptimizerSettings) -> OptimizerSettings:
    decay = max(float(group.get("weight_decay") or 0.0) for group in groups)
    more: dict[str, float] = {}
    if kind == ADAMW:
        more = {"beta1": groups[0]["betas"][0], "beta2": groups[0]["betas"][1], "epsilon": groups[0]["eps"]}
    return OptimizerSettings(kind, learning_rate=rate, weight_decay=decay, max_grad_norm=default.max_grad_norm, **more)


def _states(folder: Path, module: nn.Module, saved: dict[str, Any]) -> State:
    """Match numbers of parameters with parameters, in the order in which the Trainer groups them."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    decayed = decayed_parameters(module)
    ordered = [p for p in trainable if p in decayed] + [p for p in trainable if p not in decayed]
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    if len(numbers) != len(ordered):
        raise InputError(
            f"`{folder / 'optimizer.pt'}` is of {len(numbers)} parameters, and {len(ordered)} of the model step. Let "
            "the same parameters step as in that run (`parameters`), with the same adapter."
        )
    names = {p: name for name, p in module.named_parameters()}
    found: dict[nn.Parameter, dict[str, Any]] = {}
    for number, parameter in zip(numbers, ordered, strict=True):
        state = saved["state"].get(number)
        if state is not None:
            _check(folder, names[parameter], parameter, state)
            found[parameter] = state
    return found


def _check(folder: Path, name: str, parameter: nn.Parameter, state: dict[str, Any]) -> None:
    for entry, value in state.items():
        fits = not isinstance(value, Tensor) or value.dim() == 0 or value.shape == parameter.shape
        if not fits and not entry.startswith("exp_avg_sq_"):  # Adafactor's rows and columns
            raise InputError(
                f"`{folder / 'optimizer.pt'}` holds `{entry}` of shape {tuple(value.shape)} for `{name}` of shape "
                f"{tuple(parameter.shape)}. It is of another model, or of other trainable parameters."
            )


def _rate(folder: Path) -> float | None:
    """The learning rate of the next step."""
    saved = _read(folder / "scheduler.pt")
    rates = (saved or {}).get("_last_lr")
    return float(rates[0]) if rates else None


def _steps_made(folder: Path) -> int | None:
    path = folder / "trainer_state.json"
    if not path.is_file():
        return None
    try:
        step = json.loads(path.read_text(encoding="utf-8")).get("global_step")
    except (ValueError, AttributeError) as error:
        raise InputError(f"`{path}` is no state of a trainer: {error}") from error
    return step if isinstance(step, int) else None


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"`{path}` cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise InputError(
            f"`{path}` should hold the state of an optimizer or a scheduler. Found {type(found).__name__}."
        )
    return found
