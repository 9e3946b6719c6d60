"""The Gram of responses that do not fit into one pass: factors are kept from pass to pass and multiplied at the end."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from preflens.gram.capture.forward import Forward
from preflens.gram.factors.factors import GradientTerm, Materialized, ParameterGroup
from preflens.gram.factors.layout import Layout, layout_of
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.factors.storage import bytes_of, compact, join_responses, tensors_of
from preflens.gram.products.modes import BatchMode, products_of
from preflens.gram.products.output_head import BatchHead, HeadBias, head_pass
from preflens.gram.readers.backward import run_pass
from preflens.gram.readers.owners import Owners
from preflens.gram.rules import LayerGradients
from preflens.types import HeadInput, chosen_first

Slices = Iterator[tuple[slice, Tensor]]


class MultiPassGram:
    """Keeps the factors of some blocks over several passes.

    Args:
        owners: of the parameters.
        blocks: numbers of the blocks that are wanted.
        equal_inputs: whether equal tokens give equal activations: not under dropout.

    Attributes:
        logps: what was differentiated, pass by pass.
        bytes: what is kept, by block.
    """

    def __init__(self, owners: Owners, blocks: frozenset[int], *, equal_inputs: bool) -> None:
        self._owners, self._blocks, self._equal_inputs = owners, blocks, equal_inputs
        self._layouts: list[Layout] = []
        self._uses: dict[ParameterGroup, list[list[GradientTerm]]] = {}
        self.logps: list[Float64[Tensor, " response"]] = []
        self.bytes = dict.fromkeys(blocks, 0)

    def begin(self, outcome: Float[Tensor, " response"] | HeadInput) -> None:
        """Settle the layout of another pass."""
        if isinstance(outcome, HeadInput):
            self._layouts.append(layout_of(outcome.responses, outcome.rows, equal_inputs=self._equal_inputs))
        else:
            self._layouts.append(Layout(len(outcome)))
            self.logps.append(outcome.detach().double())

    def head(self, head: HeadInput) -> tuple[Float64[Tensor, " response"], Float[Tensor, "scored_token in"]]:
        """Score the head and keep its rows; its score gradients can be computed again."""
        weight, bias = (self._owners.own(p) for p in (head.weight, head.bias))
        alone = HeadBias(head) if bias is not None else None
        everything = torch.arange(len(head.hidden), device=head.hidden.device)
        found = head_pass(head, [everything], (lambda *_: None) if alone is None else alone.visit)
        if weight is not None:
            self._keep((weight,), found.rows)
        if bias is not None and alone is not None:
            self._keep((bias,), Materialized(alone.values))
        self.logps.append(found.rows.logps())
        return self.logps[-1], found.hidden_gradient

    def take(self, module: nn.Module, claims: list[LayerGradients]) -> None:
        """Keep what is wanted, in the smaller of its forms."""
        own = self._owners.parameters[module]
        for claim in claims:
            self._keep(tuple(own[name] for name in claim.parameters), compact(claim.factor, self._layouts[-1]))

    def finish(self) -> None:
        """Nothing is to be done before the last pass."""

    def products(self) -> list[Tensor | None]:
        """Multiply everything with everything: one Gram a block, in the order of the passes."""
        found: list[Tensor | None] = [None] * len(self._owners.blocks)
        responses = [layout.responses for layout in self._layouts]
        for key in list(self._uses):
            passes = self._uses.pop(key)  # its memory is free as soon as it is multiplied
            passes += [[] for _ in range(len(responses) - len(passes))]
            table = table_of(join_responses(passes, responses, numel=sum(p.numel() for p in key)), sum(responses))
            block = self._owners.block_of[key[0]]
            before = found[block]
            found[block] = table if before is None else before + table
        return found

    def _keep(self, key: ParameterGroup, use: GradientTerm) -> None:
        block = self._owners.block_of[key[0]]
        if block not in self._blocks:
            return
        passes = self._uses.setdefault(key, [])
        passes += [[] for _ in range(len(self._layouts) - len(passes))]
        passes[-1].append(use)
        self.bytes[block] += bytes_of(use)


def over_passes(
    owners: Owners, forwards: Sequence[Forward], *, equal_inputs: bool, memory: float | None
) -> tuple[list[Tensor | None], Float64[Tensor, " response"]]:
    """Compute the Gram of the responses of several passes.

    Args:
        owners: of the parameters.
        forwards: one a pass.
        equal_inputs: whether equal tokens give equal activations.
        memory: bytes that may be kept from pass to pass, or None for no limit. Where it is too little, the passes are
            repeated for one group of blocks after another; the Grams of the groups add up.

    Returns:
        One Gram a block, and what was differentiated; chosen responses of all passes first.
    """
    store = MultiPassGram(owners, frozenset(range(len(owners.blocks))), equal_inputs=equal_inputs)
    run_pass(owners, forwards[0], store)
    groups = _groups({block: size * len(forwards) for block, size in store.bytes.items()}, memory)
    found: list[Tensor | None] = [None] * len(owners.blocks)
    for group in groups:
        if len(groups) > 1:
            store = MultiPassGram(owners, group, equal_inputs=equal_inputs)
        for forward in forwards if len(groups) > 1 else forwards[1:]:
            run_pass(owners.only(group), forward, store)
        for block, table in enumerate(store.products()):
            found[block] = table if table is not None else found[block]
    return _chosen_first(found, store.logps)


def _groups(sizes: Mapping[int, int], memory: float | None) -> list[frozenset[int]]:
    """Split blocks, in order, so that no group of more than one is larger than the memory."""
    groups: list[set[int]] = [set()]
    used = 0
    for block, size in sizes.items():
        if groups[-1] and memory is not None and used + size > memory:
            groups.append(set())
            used = 0
        groups[-1].add(block)
        used += size
    return [frozenset(group) for group in groups]


def _chosen_first(
    tables: Sequence[Tensor | None], logps: Sequence[Tensor]
) -> tuple[list[Tensor | None], Float64[Tensor, " response"]]:
    """Put the chosen responses of all passes before the rejected ones."""
    order = chosen_first([len(part) for part in logps]).to(logps[0].device)
    return [None if t is None else t[order][:, order] for t in tables], torch.cat(list(logps))[order]


def table_of(
    uses: list[GradientTerm], responses: int, slices_of: Callable[[SoftmaxRows], Slices] = SoftmaxRows.gradients
) -> Float64[Tensor, "response response"]:
    """Multiply one parameter's gradients with each other, the head's own part among them.

    Args:
        uses: all parts of the gradient.
        responses: how many.
        slices_of: yields u of a head's rows for slices of the vocabulary, where somebody has kept it.

    Returns:
        The Gram.
    """
    heads = [u for u in uses if isinstance(u, SoftmaxRows)]
    total: Tensor = torch.zeros(responses, responses, dtype=torch.float64, device=_device(uses))
    for rows in heads:
        collector = BatchHead(rows.head, bias=False)
        for here, gradient in slices_of(rows):
            collector.visit(0, rows, here, gradient)
        total += collector.products
    return total + products_of(uses, BatchMode(Layout(responses))) if len(heads) < len(uses) else total


def _device(uses: list[GradientTerm]) -> torch.device:
    return next((t.device for use in uses for t in tensors_of(use)), torch.device("cpu"))
