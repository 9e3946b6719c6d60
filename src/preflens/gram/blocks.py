"""Partitions of the trainable parameters, by which a Gram is broken down."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from preflens.errors import InputError

Breakdown = Literal["layer", "module"]


@dataclass(frozen=True)
class Block:
    """Parameters whose contributions to a Gram are added up.

    Attributes:
        name: of the layer or module. Tied weights, owned by several modules, have all names joined by ` + `.
        parameters: the trainable parameters in it.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]


def parameter_blocks(module: nn.Module, by: Breakdown | None) -> tuple[Block, ...]:
    """Partition the trainable parameters of a module.

    Args:
        module: its parameters with `requires_grad` are taken, each once, tied ones too.
        by: `layer`: everything up to the first number in a parameter's path (`model.layers.3`), or the owning module
            where there is none; `module`: the owning module; None: one block.

    Returns:
        The blocks, in the order in which the module lists its parameters.

    Raises:
        InputError: nothing is trainable.
    """
    owners: dict[nn.Parameter, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if parameter.requires_grad:
            owners.setdefault(parameter, []).append(_block_name(name, by))
    if not owners:
        raise InputError("No parameter has `requires_grad`, so there is no gradient to compute.")
    blocks: dict[str, list[nn.Parameter]] = {}
    for parameter, names in owners.items():
        blocks.setdefault(" + ".join(dict.fromkeys(names)), []).append(parameter)
    return tuple(Block(name, tuple(parameters)) for name, parameters in blocks.items())


def block_names(blocks: Sequence[Block], by: Breakdown | None) -> tuple[str, ...] | None:
    """Return the names for a Gram's leading axis.

    Args:
        blocks: the partition.
        by: what it was made by.

    Returns:
        One name per block; None for a Gram that is not broken down.
    """
    return None if by is None else tuple(b.name for b in blocks)


def _block_name(parameter_name: str, by: Breakdown | None) -> str:
    path = parameter_name.split(".")[:-1]
    if by is None or not path:
        return "all" if by is None else "(root)"
    if by == "layer":
        numbered = next((i for i, part in enumerate(path) if part.isdigit()), None)
        path = path if numbered is None else path[: numbered + 1]
    return ".".join(path)
