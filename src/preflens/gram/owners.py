"""Which module owns which trainable parameter: every one has to be claimed by a module that is called."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from preflens.errors import InputError, UnsupportedModelError
from preflens.gram.blocks import Block, parameter_blocks
from preflens.gram.rules import LAYER_RULES


@dataclass(frozen=True)
class Owners:
    """The modules that own trainable parameters.

    Attributes:
        parameters: of each such module: parameter by its name there.
        names: of each such module, its first path in the model.
        blocks: the finest partition: parameters of one module together, those with several owners in a block of the
            owners' names.
        block_of: which block a parameter is in, by its number.
        single: parameters with one owner.
    """

    parameters: Mapping[nn.Module, Mapping[str, nn.Parameter]]
    names: Mapping[nn.Module, str]
    blocks: tuple[Block, ...]
    block_of: Mapping[nn.Parameter, int]
    single: frozenset[nn.Parameter]

    def only(self, blocks: Collection[int]) -> "Owners":
        """Return the same with only the modules that own a parameter of some blocks."""
        chosen = {m: own for m, own in self.parameters.items() if any(self.block_of[p] in blocks for p in own.values())}
        return replace(self, parameters=chosen)

    def own(self, tensor: Tensor | None) -> nn.Parameter | None:
        """Return the tensor if it is one of the parameters that are differentiated."""
        return tensor if isinstance(tensor, nn.Parameter) and tensor in self.block_of else None

    def keep_outputs(self) -> dict[nn.Module, bool]:
        """Return the modules to tap, and whether their rule looks at their outputs."""
        return {module: type(module) not in LAYER_RULES for module in self.parameters}


def find_owners(module: nn.Module, *, dropout: bool) -> Owners:
    """Find the owners of all trainable parameters.

    Args:
        module: the whole model.
        dropout: whether a dropout that drops is welcome.

    Returns:
        The owners.

    Raises:
        UnsupportedModelError: a parameter lies in a container that is never called, or statistics over the batch are
            active.
    """
    blocks = parameter_blocks(module, "module")
    owned: dict[nn.Module, dict[str, nn.Parameter]] = {}
    names: dict[nn.Module, str] = {}
    owners: dict[nn.Parameter, int] = {}
    for path, child in module.named_modules():
        _refuse_batch_statistics(path, child)
        if not dropout:
            _refuse_dropout(path, child)
        own = {name: p for name, p in child._parameters.items() if p is not None and p.requires_grad}
        if not own:
            continue
        if isinstance(child, (nn.ParameterDict, nn.ParameterList)):
            raise UnsupportedModelError(
                f"Parameter `{path}.{next(iter(own))}` lies in a `{type(child).__name__}`, which is never called, so "
                "no module owns it and its gradient cannot be read off a backward pass. Freeze it, or use "
                "`exact_pair_gram` / `exact_batch_gram`."
            )
        owned[child], names[child] = own, path
        for p in own.values():
            owners[p] = owners.get(p, 0) + 1
    block_of = {p: number for number, block in enumerate(blocks) for p in block.parameters}
    return Owners(owned, names, blocks, block_of, frozenset(p for p, count in owners.items() if count == 1))


def drops(module: nn.Module) -> bool:
    """Tell whether a module is a dropout that is active.

    Args:
        module: one module.

    Returns:
        Whether it drops anything.
    """
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0


def _refuse_dropout(path: str, module: nn.Module) -> None:
    if drops(module):
        raise InputError(
            f"Dropout is active in `{path}`, so every pass has other gradients. Call `model.eval()`, or pass "
            "`dropout=True` for the geometry of one draw."
        )


def _refuse_batch_statistics(path: str, module: nn.Module) -> None:
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
        raise UnsupportedModelError(
            f"`{path}` (a `{type(module).__name__}` in training mode) takes statistics over the batch, so a response "
            "has no gradient of its own. Call `model.eval()`."
        )
