"""The Gram of responses of several passes: gradient factors are kept, and multiplied after the last pass."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.gram.capture.forward import Forward, ForwardOutput
from preflens.gram.factors.factors import GradientTerm, ParameterGroup
from preflens.gram.factors.layout import Layout
from preflens.gram.factors.scored_rows import SoftmaxRows
from preflens.gram.factors.storage import bytes_of, compact, join_responses, tensors_of
from preflens.gram.products.head_collectors import BatchHead
from preflens.gram.products.modes import BatchMode, products_of
from preflens.gram.products.output_head import HeadPass, head_pass
from preflens.gram.readers.backward import run_pass
from preflens.gram.readers.base import HeadParameters
from preflens.gram.readers.owners import Owners
from preflens.gram.rules import LayerGradients
from preflens.response_order import chosen_first
from preflens.types import HeadInput

ScoreGradientSlices = Iterator[tuple[slice, Tensor]]


class MultiPassGram:
    """Keeps the gradient factors of some blocks over several passes.

    Args:
        owners: of the parameters.
        blocks: numbers of the blocks whose factors are kept.
        equal_inputs: whether equal tokens give equal activations, which dropout prevents.

    Attributes:
        logps: log-probs that were differentiated, nats, one tensor per pass.
        bytes: memory of the kept factors, by block.
    """

    def __init__(self, owners: Owners, blocks: frozenset[int], *, equal_inputs: bool) -> None:
        self._owners, self._blocks, self._equal_inputs = owners, blocks, equal_inputs
        self._layouts: list[Layout] = []
        self._terms: dict[ParameterGroup, list[list[GradientTerm]]] = {}
        self.logps: list[Float64[Tensor, " response"]] = []
        self.bytes = dict.fromkeys(blocks, 0)

    def on_forward(self, output: ForwardOutput) -> None:
        """Derive the layout of one more pass."""
        self._layouts.append(output.layout(equal_inputs=self._equal_inputs))
        if output.head is None:
            self.logps.append(output.detached_logps())

    def score_head(self, head: HeadInput) -> HeadPass:
        """Score the head and keep its rows; their score gradients can be computed again."""
        parameters = HeadParameters(self._owners, head)
        result = head_pass(head, parameters.visit)
        for group, term in parameters.terms(result.rows).items():
            self._keep(group, term)
        self.logps.append(result.rows.logps())
        return result

    def on_module(self, module: nn.Module, gradients: list[LayerGradients]) -> None:
        """Keep the gradients of a module in their smaller form: factors, or the gradients themselves."""
        parameters = self._owners.parameters[module]
        for part in gradients:
            group = tuple(parameters[name] for name in part.parameters)
            self._keep(group, compact(part.factor, self._layouts[-1]))

    def on_end(self) -> None:
        """Do nothing; products are formed after the last pass."""

    def products(self) -> list[Tensor | None]:
        """Return the Gram of each block over all passes, responses in the order of the passes."""
        grams: list[Tensor | None] = [None] * len(self._owners.blocks)
        responses = [layout.responses for layout in self._layouts]
        for group in list(self._terms):
            passes = self._terms.pop(group)  # its memory is free as soon as it is multiplied
            passes += [[] for _ in range(len(responses) - len(passes))]
            terms = join_responses(passes, responses, numel=sum(p.numel() for p in group))
            gram, block = gram_of_terms(terms, sum(responses)), self._owners.block_of[group[0]]
            before = grams[block]
            grams[block] = gram if before is None else before + gram
        return grams

    def _keep(self, group: ParameterGroup, term: GradientTerm) -> None:
        block = self._owners.block_of[group[0]]
        if block not in self._blocks:
            return
        passes = self._terms.setdefault(group, [])
        passes += [[] for _ in range(len(self._layouts) - len(passes))]
        passes[-1].append(term)
        self.bytes[block] += bytes_of(term)


def gram_over_passes(
    owners: Owners, forwards: Sequence[Forward], *, equal_inputs: bool, memory: float | None
) -> tuple[list[Tensor | None], Float64[Tensor, " response"]]:
    """Compute the Gram of the responses of several passes.

    Args:
        owners: of the parameters.
        forwards: one function per pass.
        equal_inputs: whether equal tokens give equal activations, which dropout prevents.
        memory: bytes that may be kept from pass to pass, or None for no limit. Where that is too little, all passes
            are repeated for one group of blocks after another.

    Returns:
        One Gram per block, and the log-probs (nats); chosen responses of all passes first.
    """
    store = MultiPassGram(owners, frozenset(range(len(owners.blocks))), equal_inputs=equal_inputs)
    run_pass(owners, forwards[0], store)
    groups = _groups({block: size * len(forwards) for block, size in store.bytes.items()}, memory)
    grams: list[Tensor | None] = [None] * len(owners.blocks)
    for group in groups:
        if len(groups) > 1:
            store = MultiPassGram(owners, group, equal_inputs=equal_inputs)
        for forward in forwards if len(groups) > 1 else forwards[1:]:
            run_pass(owners.only(group), forward, store)
        for block, gram in enumerate(store.products()):
            grams[block] = gram if gram is not None else grams[block]
    order = chosen_first([len(part) for part in store.logps]).to(store.logps[0].device)
    return [None if g is None else g[order][:, order] for g in grams], torch.cat(list(store.logps))[order]


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


def gram_of_terms(
    terms: list[GradientTerm],
    responses: int,
    slices_of: Callable[[SoftmaxRows], ScoreGradientSlices] = SoftmaxRows.gradients,
) -> Float64[Tensor, "response response"]:
    """Compute the Gram of one parameter's gradients, the products of a head's rows with themselves included.

    Args:
        terms: all terms of the gradient.
        responses: number of responses.
        slices_of: yields u of a head's rows for slices of the vocabulary; for callers that have kept u.

    Returns:
        The Gram.
    """
    heads = [term for term in terms if isinstance(term, SoftmaxRows)]
    total: Tensor = torch.zeros(responses, responses, dtype=torch.float64, device=_device(terms))
    for rows in heads:
        collector = BatchHead(rows.head, bias=False)
        for columns, gradient in slices_of(rows):
            collector.visit(0, rows, columns, gradient)
        total += collector.products
    return total + products_of(terms, BatchMode(Layout(responses))) if len(heads) < len(terms) else total


def _device(terms: list[GradientTerm]) -> torch.device:
    return next((t.device for term in terms for t in tensors_of(term)), torch.device("cpu"))
