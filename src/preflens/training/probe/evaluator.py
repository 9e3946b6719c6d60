"""Evaluate pairs with the model in training: forecasts before an optimizer's step, measured changes after it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.measurement.forward_passes import MicroBatches, PassLimit, PolicyScorer, make_passes
from preflens.analysis.measurement.memory_budget import limit_for, memory_budget
from preflens.gram import pair_gram
from preflens.gram.capture.forward import ForwardOutput
from preflens.gram.readers.stored_gradients import PerResponseGradients, per_response_gradients
from preflens.language_models.model import evaluating
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.forecasts import PassForecast, forecast_passes, join_forecasts
from preflens.training.probe.optimizer_preview import OptimizerPreview
from preflens.training.probe.precision import (
    can_measure_finer,
    full_precision,
    input_embeddings,
    perturbed_last_bit,
    rounding_per_token,
)
from preflens.training.probe.result import ProbeResult, join_passes
from preflens.types import SIDES, LogpChange

PairsWithGradients = tuple[Sequence[TokenizedPair], PerResponseGradients | None]
# How much inner products of two passes over the same pairs may differ, as a share of the product of norms: in float32,
# and where activations have half precision.
_SAME, _SAME_HALF = 1e-3, 0.1
_COMPARED_PAIRS = 2
_PERTURBED_PAIRS = 4  # estimate the rounding error to within a quarter or so


@dataclass
class PairEvaluator:
    """Evaluates pairs with a model in training; weights, gradients, modes and random state stay as they are.

    Attributes:
        scorer: the model and how it scores pairs.
        autocast: makes the context in which the model computes as in training.
        memory: bytes that the activations of a pass may take, and kept gradients too; None for half of what is free.
        limit: the size of a pass; determined by the first one.
    """

    scorer: PolicyScorer
    autocast: Callable[[], AbstractContextManager[None]]
    memory: float | None = None
    limit: PassLimit | None = field(default=None, init=False)
    _can_measure_finer: bool | None = field(default=None, init=False)

    def predict(
        self, groups: Sequence[PairsWithGradients], preview: OptimizerPreview
    ) -> tuple[ProbeResult, list[PerResponseGradients]]:
        """Forecast the changes of pairs, before the optimizer's step.

        Args:
            groups: pairs, at least one in all, with their gradients where these are captured already.
            preview: predicts the optimizer's update.

        Returns:
            The result, and the gradients where the preview does not support the optimizer, so that they are needed
            after the step.
        """
        forecasts: list[PassForecast] = []
        waiting: list[PerResponseGradients] = []
        with self._evaluating():
            for pairs, captured in groups:
                if captured is not None and preview.supported:
                    waiting.append(captured)
                else:
                    waiting += self._gradients(pairs, pin=not preview.supported)
                if preview.supported and sum(gradients.bytes for gradients in waiting) > self.memory_bytes():
                    forecasts += forecast_passes(waiting, preview)
                    waiting.clear()
            forecasts += forecast_passes(waiting, preview)
        pairs_of_all = tuple(pair for pairs, _ in groups for pair in pairs)
        result = join_forecasts(forecasts, pairs_of_all, supported=preview.supported)
        return result, [] if preview.supported else waiting

    def rescore(self, result: ProbeResult) -> ProbeResult:
        """Replace log-probs before the step by ones as fine as those that will be measured after it.

        Args:
            result: from before the step, with log-probs as the model computes them in training.

        Returns:
            The same, or with log-probs of a separate pass where weights are finer than training.
        """
        if not self._measures_finer():
            return result
        chosen, rejected = self.fine_logps(result.pairs).chunk(2)
        return replace(result, chosen_logp=chosen, rejected_logp=rejected)

    def measure(self, result: ProbeResult, attribution: LogpChange | None) -> ProbeResult:
        """Score pairs again after the optimizer's step.

        Args:
            result: from before it.
            attribution: to the update that was made.

        Returns:
            The complete result.
        """
        chosen, rejected = self.fine_logps(result.pairs).chunk(2)
        return result.with_measured(chosen, rejected, attribution)

    def estimate_rounding(self, result: ProbeResult) -> float | None:
        """Estimate the rounding error of measured changes on the first pairs of a result.

        Args:
            result: complete.

        Returns:
            Standard deviation of the error of the measured change of one token, nats; None for a model whose embeddings
            are not known.
        """
        embeddings = input_embeddings(self.scorer.model)
        if embeddings is None:
            return None
        assert result.measured is not None
        pairs = result.pairs[:_PERTURBED_PAIRS]
        after = result.chosen_logp + result.measured.chosen, result.rejected_logp + result.measured.rejected
        with perturbed_last_bit(embeddings):
            perturbed = self.fine_logps(pairs)
        return rounding_per_token(torch.cat([logp[: len(pairs)] for logp in after]), perturbed, pairs)

    def confirms_capture(self, pairs: Sequence[TokenizedPair], captured: PerResponseGradients) -> bool:
        """Return whether a separate pass over the first pairs gives the same products as captured gradients.

        Args:
            pairs: at least one.
            captured: their gradients, captured in a training step's backward pass.

        Returns:
            Whether the inner products agree. They do not where the loss has terms besides the log-probs.
        """
        compared = pairs[:_COMPARED_PAIRS]
        with self._evaluating():
            forwards = self._passes(compared).forwards_to_head()
            grams = [pair_gram(self.scorer.model, forward) for forward in forwards]
            half = torch.is_autocast_enabled(self.scorer.model.device.type) or self.scorer.model.dtype != torch.float32
        inner_product = torch.cat([gram.inner_product for gram in grams])
        chosen, rejected = (torch.cat([getattr(g, f"{side}_sq_norm") for g in grams]) for side in SIDES)
        difference = captured.pair_gram().inner_product[: len(compared)] - inner_product
        allowed = _SAME_HALF if half else _SAME
        return bool((difference.abs() <= allowed * (chosen * rejected).sqrt()).all())

    def logps(self, pairs: Sequence[TokenizedPair]) -> Float64[Tensor, " response"]:
        """Score pairs in the precision of training.

        Args:
            pairs: at least one.

        Returns:
            Log-probs, nats; all chosen responses first.
        """
        with self._evaluating(), torch.no_grad():
            return join_passes([
                ForwardOutput(forward()).detached_logps() for forward in self._passes(pairs).forwards_to_head()
            ])

    def fine_logps(self, pairs: Sequence[TokenizedPair]) -> Float64[Tensor, " response"]:
        """Score pairs in the precision of the weights.

        Args:
            pairs: at least one.

        Returns:
            Log-probs, nats; all chosen responses first.
        """
        with self._evaluating(finely=self._measures_finer()), torch.no_grad():
            return join_passes([
                ForwardOutput(forward()).detached_logps() for forward in self._passes(pairs).forwards_to_head()
            ])

    def _measures_finer(self) -> bool:
        if self._can_measure_finer is None:
            self._can_measure_finer = can_measure_finer(self.scorer.model, self.autocast)
        return self._can_measure_finer

    @contextmanager
    def _evaluating(self, *, finely: bool = False) -> Iterator[None]:
        model = self.scorer.model
        with evaluating(model), full_precision(model) if finely else self.autocast():
            yield

    def _passes(self, pairs: Sequence[TokenizedPair]) -> MicroBatches:
        if self.limit is None:
            longest = max(pairs, key=lambda pair: pair.longest)
            self.limit = limit_for(self.scorer, longest, memory=self.memory_bytes())
        return make_passes(self.scorer, pairs, self.limit)

    def _gradients(self, pairs: Sequence[TokenizedPair], *, pin: bool) -> list[PerResponseGradients]:
        if not pairs:
            return []
        forwards = self._passes(pairs).forwards_to_head()
        return [per_response_gradients(self.scorer.model, forward, pin=pin) for forward in forwards]

    def capture_bytes(self, *, trained: bool) -> float:
        """Return how many bytes captured gradients may take during a training step.

        Args:
            trained: whether steps have been made, so that their peak memory is known.

        Returns:
            Half of what is free at the peak of a step; on a GPU zero before the first step.
        """
        device = self.scorer.model.device
        if self.memory is not None or device.type != "cuda":
            return self.memory_bytes()
        if not trained:
            return 0.0
        peak = torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)
        return max(0.0, self.memory_bytes() - peak / 2)

    def memory_bytes(self) -> float:
        """Return how many bytes the activations of a pass may take, and kept gradients too."""
        return memory_budget(self.scorer.model.device) if self.memory is None else self.memory
