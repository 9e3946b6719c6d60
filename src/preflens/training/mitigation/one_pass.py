"""Training steps whose coefficients a mitigation has changed.

The loss says what it sends back to each response, the backward pass brings each response's gradient, the mitigation
turns coefficients and Gram into other coefficients, and the gradient of the step is formed with those: one forward and
one backward pass. Every step proves itself: the squared norm of what was put together has to be what the Gram says.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.errors import UnsupportedObjectiveError
from preflens.gram.training_step.deferred import DeferredGradients, defer_weighting
from preflens.gram.training_step.weighting import (
    accumulated_gram,
    add_to_grad,
    check_norm,
    parameter_gram,
    parameter_groups,
    squared_norm,
    weighted_gradients,
)
from preflens.mitigations import CoefficientMap, Mitigated, MovingAverages
from preflens.response_order import chosen_first
from preflens.training.mitigation.held_out_constraints import ConstraintPairs
from preflens.types import BatchGram, PairCoefficients, PairGram


class OnePassReweighting:
    """Makes the gradients of a run's steps.

    Args:
        mitigation: changes the coefficients.
        window: treat all micro-batches of an update together, which keeps the gradients of their responses until the
            last one; else each micro-batch is treated by itself. For maps of single pairs it is the same.
        guarded: held-out pairs that a map of batches is to see too.

    Attributes:
        state: what the mitigation remembers.
        running: the books of the micro-batch that is under way, or None.
    """

    def __init__(self, mitigation: CoefficientMap, *, window: bool, guarded: ConstraintPairs | None = None) -> None:
        self._mitigation, self._window = mitigation, window and mitigation.scope == "batch"
        self._guarded = guarded
        self._waiting: list[DeferredGradients] = []
        self._checked = 0
        self.state: MovingAverages | None = None
        self.running: DeferredGradients | None = None

    def run(
        self, model: nn.Module, step: Callable[[], Tensor], *, accumulated: int, last: bool, dtype: torch.dtype
    ) -> tuple[Tensor, Mapping[str, float]]:
        """Run a micro-batch and add to `param.grad` what the mitigation makes of it.

        Args:
            model: that is trained.
            step: one forward and one backward pass of it, which tells `running` of the head.
            accumulated: how many micro-batches share the update.
            last: whether this is the last of them.
            dtype: of the activations.

        Returns:
            The loss, and what is worth logging.

        Raises:
            UnsupportedObjectiveError: the loss has other gradients for some tokens of a response than for others.
        """
        with defer_weighting(model, pairs=self._mitigation.scope == "pair") as books:
            self.running = books
            try:
                loss = step()
            finally:
                self.running = None
        if books.coefficients is None:
            raise UnsupportedObjectiveError(
                "The loss weighs the tokens of a response differently, and this mitigation is about whole responses. "
                "Choose another objective, or `sparse_mask`."
            )
        self._waiting.append(books)
        if self._window and not last:
            return loss, {}
        waiting, self._waiting = self._waiting, []
        pairs = sum(len(each.coefficients) for each in waiting if each.coefficients is not None) // 2
        if self._guarded is not None:
            waiting.append(self._guarded.books(model))
        with torch.no_grad():
            return loss, self._close(waiting, pairs * (1 if self._window else accumulated), pairs, dtype=dtype)

    def _close(self, books: list[DeferredGradients], share: int, pairs: int, *, dtype: torch.dtype) -> dict[str, float]:
        """Decide on the coefficients, and form the gradient; the loss is a mean over `share` pairs."""
        own = self._mitigation.scope == "pair"
        gram: PairGram | BatchGram = books[0].pair_gram() if own else accumulated_gram(books)
        sent = torch.cat([each.coefficients for each in books if each.coefficients is not None])
        order = chosen_first([each.responses for each in books]).to(sent.device)
        chosen, rejected = (side[:pairs] for side in (-share * sent[order]).cpu().chunk(2))  # no guarded ones
        before = PairCoefficients(chosen, -rejected)
        found = self._mitigation.apply(before, gram, self.state)
        self.state = found.state
        weights = torch.empty_like(sent).index_copy(0, order, -found.coefficients.signed().to(sent.device) / share)
        if own:
            self._write_checking_one(books, weights, dtype)
        else:
            self._write_checking_all(books, weights, order, gram, dtype)
        return mitigation_report(found, before, gram)

    def _write_checking_one(
        self, books: list[DeferredGradients], weights: Float64[Tensor, " response"], dtype: torch.dtype
    ) -> None:
        """Within pairs the Gram does not say the norm: one parameter a step, in turn, is multiplied out."""
        checked = self._checked % len(parameter_groups(books))
        self._checked += 1
        for number, (key, found) in enumerate(weighted_gradients(books, weights)):
            if number == checked:
                check_norm(squared_norm(found), parameter_gram(books, key), weights, dtype)
            add_to_grad(key, found)

    def _write_checking_all(
        self,
        books: list[DeferredGradients],
        weights: Float64[Tensor, " response"],
        order: Tensor,
        gram: PairGram | BatchGram,
        dtype: torch.dtype,
    ) -> None:
        assert isinstance(gram, BatchGram)
        squared = 0.0
        for key, found in weighted_gradients(books, weights):
            squared += squared_norm(found)
            add_to_grad(key, found)
        check_norm(squared, gram.matrix, weights[order].cpu(), dtype)


def mitigation_report(found: Mitigated, before: PairCoefficients, gram: PairGram | BatchGram) -> dict[str, float]:
    """Say what a mitigation did to an update batch.

    Args:
        found: what it made of the coefficients.
        before: the coefficients it got.
        gram: the geometry it got.

    Returns:
        By the names of metrics: share of pairs left alone, mean change of log(d_w/d_l) over the others, mean cosine,
        and what the mitigation itself reports.
    """
    after, here = found.coefficients, ~found.untreated
    numbers = {"untreated": float(found.untreated.double().mean()), **found.report}
    if bool(here.any()):
        chosen, rejected = (side[: len(here)] for side in (after.chosen, after.rejected))  # guarded pairs stand behind
        turn = (chosen / rejected).abs().log() - (before.chosen / before.rejected).abs().log()
        numbers["log_ratio_change"] = float(turn[here].mean())
    pair = gram.pair_gram() if isinstance(gram, BatchGram) else gram
    numbers["cosine"] = float(pair.cosine.nanmean())
    return {f"mitigation/{name}": value for name, value in numbers.items()}
