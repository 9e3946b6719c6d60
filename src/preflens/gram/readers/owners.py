"""Which module each trainable parameter's gradient is read off: its owner, or a module around it that uses it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from preflens.gram.blocks import Block, Breakdown, block_names, parameter_blocks
from preflens.gram.capture.taps import Recognize
from preflens.gram.rules import LayerRules, recognizer_of


@dataclass(frozen=True)
class Owners:
    """The modules whose calls give the gradients of trainable parameters.

    Attributes:
        module: the whole model.
        parameters: for each owner, its parameters by name; a dotted name is that of a module inside it.
        names: for each owner, its first path in the model.
        blocks: the finest partition. Parameters of one module are together; tied parameters are in a block named after
            all of their owners.
        block_of: for each parameter, the number of its block.
        single: parameters that are read off one module only.
        parameter_names: the first path of each parameter.
        idle: parameters that are known to have no influence although their modules run; shared by all passes.
        rules: layer rules of the user, by exact class.
    """

    module: nn.Module
    parameters: Mapping[nn.Module, Mapping[str, nn.Parameter]]
    names: Mapping[nn.Module, str]
    blocks: tuple[Block, ...]
    block_of: Mapping[nn.Parameter, int]
    single: frozenset[nn.Parameter]
    parameter_names: Mapping[nn.Parameter, str]
    idle: set[nn.Parameter]
    rules: LayerRules

    def only(self, blocks: Collection[int]) -> "Owners":
        """Return the same with only those modules that own a parameter of some blocks."""
        kept = {m: ps for m, ps in self.parameters.items() if any(self.block_of[p] in blocks for p in ps.values())}
        return replace(self, parameters=kept)

    def trainable(self, tensor: Tensor | None) -> nn.Parameter | None:
        """Return the tensor if it is a trainable parameter, else None."""
        return tensor if isinstance(tensor, nn.Parameter) and tensor in self.block_of else None

    def recognizers(self) -> dict[nn.Module, Recognize]:
        """Return the modules to tap, each with the function that finds the rule for its calls."""
        return {
            module: recognizer_of(module, whole=any("." in name for name in parameters), rules=self.rules)
            for module, parameters in self.parameters.items()
        }

    def grouped(
        self, products: Sequence[Tensor | None], by: Breakdown | None, *, shape: tuple[int, ...]
    ) -> tuple[Tensor, tuple[str, ...] | None]:
        """Add the products of the finest blocks up to those of coarser ones; unused parameters have zeros.

        Args:
            products: one tensor per block of `blocks`, None for no contribution.
            by: the coarser partition; None for one sum over everything.
            shape: of one block's products.

        Returns:
            The products, with a leading block axis unless `by` is None, and the names of the blocks.
        """
        present = [(block, p.cpu()) for block, p in zip(self.blocks, products, strict=True) if p is not None]
        if by is None:
            return sum((p for _, p in present), torch.zeros(shape, dtype=torch.float64)), None
        blocks = parameter_blocks(self.module, by)
        number_of = {p: number for number, block in enumerate(blocks) for p in block.parameters}
        total = torch.zeros(len(blocks), *shape, dtype=torch.float64)
        for block, contribution in present:
            total[number_of[block.parameters[0]]] += contribution
        return total, block_names(blocks, by)

    def groups(self, module: nn.Module) -> tuple[tuple[str, ...], ...]:
        """Return the names of an owner's parameters; names of one block that are read off it alone are grouped."""
        parameters = self.parameters[module]
        if len(parameters) == 1:
            return (tuple(parameters),)
        together: dict[object, list[str]] = {}
        for name, p in parameters.items():
            together.setdefault(self.block_of[p] if p in self.single else p, []).append(name)
        return tuple(tuple(names) for names in together.values())
