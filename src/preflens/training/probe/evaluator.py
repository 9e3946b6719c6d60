"""Looking at pairs before and after an optimizer's step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.analysis.measurement.forward_passes import MicroBatches, PassLimit, PolicyScorer, make_passes
from preflens.analysis.measurement.memory_budget import limit_for, memory_budget
from preflens.gram import pair_gram
from preflens.gram.capture.forward import ForwardOutput
from preflens.gram.products.along_updates import RowSlice
from preflens.gram.readers.first_order_changes import changes_along_updates
from preflens.gram.readers.stored_gradients import PerResponseGradients, per_response_gradients
from preflens.language_models.model import evaluating
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.optimizer_preview import OptimizerPreview
from preflens.training.probe.precision import (
    can_be_finer,
    full_precision,
    input_embeddings,
    rounding_per_token,
    shaken,
)
from preflens.training.probe.result import ProbeResult, change_of, joined
from preflens.types import LogpChange, PairGram

KeptPairs = tuple[Sequence[TokenizedPair], PerResponseGradients | None]
# How much inner products of two passes over the same pairs may differ, as a share of the product of norms.
_SAME, _SAME_HALF = 1e-3, 0.1
_COMPARED = 2  # pairs
_SHAKEN = 4  # pairs by which rounding is estimated: within a quarter or so


@dataclass
class PairEvaluator:
    """Looks at pairs with a model in training; weights, gradients, modes and random state stay as they are.

    Attributes:
        scorer: the model and how it is scored.
        autocast: makes the context in which the model computes as it does in training.
        memory: bytes that the activations of a pass may take, and kept gradients too; None for half of what is free.
        limit: how much goes into a pass; found at the first look.
    """

    scorer: PolicyScorer
    autocast: Callable[[], AbstractContextManager[None]]
    memory: float | None = None
    limit: PassLimit | None = field(default=None, init=False)
    _can_be_finer: bool | None = field(default=None, init=False)

    def before(
        self, given: Sequence[KeptPairs], step: OptimizerPreview
    ) -> tuple[ProbeResult, list[PerResponseGradients]]:
        """Look at pairs before the optimizer's step.

        Args:
            given: pairs, at least one in all, and their gradients where somebody has them already.
            step: foretells the optimizer.

        Returns:
            The look, and the gradients where they are still needed because the step cannot be foretold.
        """
        found: list[_Forecast] = []
        waiting: list[PerResponseGradients] = []
        with self._looking():
            for pairs, kept in given:
                waiting += (
                    [kept] if kept is not None and step.foretold else self._own_passes(pairs, pin=not step.foretold)
                )
                if step.foretold and sum(k.bytes for k in waiting) > self.budget():
                    found += _forecasts(waiting, step)
                    waiting.clear()
            found += _forecasts(waiting, step)
        changes, logps = joined([f.changes for f in found]), joined([f.logps for f in found])
        chosen, rejected = logps.chunk(2)
        pairs_looked_at = tuple(pair for pairs, _ in given for pair in pairs)
        result = ProbeResult(
            pairs_looked_at, chosen, rejected, PairGram.concatenate([f.gram for f in found]), coefficients=None,
            plain=change_of(changes[0]), optimizer=change_of(changes[1]) if step.foretold else None,
        )  # fmt: skip
        return result, [] if step.foretold else waiting

    def sharpened(self, result: ProbeResult) -> ProbeResult:
        """Measure log-probs before the optimizer's step as finely as they will be measured after it.

        Args:
            result: from before the step, with log-probs as the model computes them in training.

        Returns:
            The same, or with log-probs of a pass of its own where weights are finer than training is.
        """
        if not self._finer():
            return result
        chosen, rejected = self.measured(result.pairs).chunk(2)
        return replace(result, chosen_logp=chosen, rejected_logp=rejected)

    def after(self, result: ProbeResult, attribution: LogpChange | None) -> ProbeResult:
        """Look at pairs after the optimizer's step.

        Args:
            result: from before it.
            attribution: to the update that was made.

        Returns:
            The complete look.
        """
        chosen, rejected = self.measured(result.pairs).chunk(2)
        return result.after(chosen, rejected, attribution)

    def rounding(self, result: ProbeResult) -> float | None:
        """Estimate what rounding does to the facts of a look, on its first pairs.

        Args:
            result: complete.

        Returns:
            Standard deviation of the error of a fact of one token, nats; None for a model without embeddings to shake.
        """
        embeddings = input_embeddings(self.scorer.model)
        if embeddings is None:
            return None
        assert result.measured is not None
        some = result.pairs[:_SHAKEN]
        now = result.chosen_logp + result.measured.chosen, result.rejected_logp + result.measured.rejected
        with shaken(embeddings):
            again = self.measured(some)
        return rounding_per_token(torch.cat([logp[: len(some)] for logp in now]), again, some)

    def confirms(self, pairs: Sequence[TokenizedPair], kept: PerResponseGradients) -> bool:
        """Tell whether a pass of its own over the first pairs finds what was read off a training step's backward pass.

        They differ where the loss has terms beside the log-probs that it says it has.

        Args:
            pairs: of the micro-batch.
            kept: what was read off.

        Returns:
            Whether the two agree.
        """
        some = pairs[:_COMPARED]
        with self._looking():
            forwards = self._passes(some).forwards_to_head()
            own = PairGram.concatenate([pair_gram(self.scorer.model, forward) for forward in forwards])
            half = torch.is_autocast_enabled(self.scorer.model.device.type) or self.scorer.model.dtype != torch.float32
        found, allowed = kept.pair_gram().inner_product[: len(some)], (_SAME_HALF if half else _SAME)
        scale = (own.chosen_sq_norm * own.rejected_sq_norm).sqrt()
        return bool(((found - own.inner_product).abs() <= allowed * scale).all())

    def logps(self, pairs: Sequence[TokenizedPair]) -> Float64[Tensor, " response"]:
        """Score pairs.

        Args:
            pairs: at least one.

        Returns:
            Log-probs, nats; all chosen responses first.
        """
        with self._looking(), torch.no_grad():
            return joined([
                ForwardOutput(forward()).detached_logps() for forward in self._passes(pairs).forwards_to_head()
            ])

    def measured(self, pairs: Sequence[TokenizedPair]) -> Float64[Tensor, " response"]:
        """Score pairs as finely as the weights allow.

        Args:
            pairs: at least one.

        Returns:
            Log-probs, nats; all chosen responses first.
        """
        with self._looking(finely=self._finer()), torch.no_grad():
            return joined([
                ForwardOutput(forward()).detached_logps() for forward in self._passes(pairs).forwards_to_head()
            ])

    def _finer(self) -> bool:
        if self._can_be_finer is None:
            self._can_be_finer = can_be_finer(self.scorer.model, self.autocast)
        return self._can_be_finer

    @contextmanager
    def _looking(self, *, finely: bool = False) -> Iterator[None]:
        model = self.scorer.model
        with evaluating(model), full_precision(model) if finely else self.autocast():
            yield

    def _passes(self, pairs: Sequence[TokenizedPair]) -> MicroBatches:
        if self.limit is None:
            longest = max(pairs, key=lambda pair: pair.longest)
            self.limit = limit_for(self.scorer, longest, memory=self.budget())
        return make_passes(self.scorer, pairs, self.limit)

    def _own_passes(self, pairs: Sequence[TokenizedPair], *, pin: bool) -> list[PerResponseGradients]:
        passes = self._passes(pairs) if pairs else None
        return (
            []
            if passes is None
            else [per_response_gradients(self.scorer.model, f, pin=pin) for f in passes.forwards_to_head()]
        )

    def beside_training(self, *, trained: bool) -> float:
        """Return how many bytes may be kept while a training step runs.

        Args:
            trained: whether steps have been made, so that it is known what they need.

        Returns:
            Half of what is free at the peak of a step; on a GPU nothing before the first step.
        """
        device = self.scorer.model.device
        if self.memory is not None or device.type != "cuda":
            return self.budget()
        if not trained:
            return 0.0
        peak = torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)
        return max(0.0, self.budget() - peak / 2)

    def budget(self) -> float:
        """Return how many bytes the activations of a pass may take, and kept gradients too."""
        return memory_budget(self.scorer.model.device) if self.memory is None else self.memory


@dataclass(frozen=True)
class _Forecast:
    """What one pass found."""

    logps: Float64[Tensor, " response"]
    gram: PairGram
    changes: Float64[Tensor, "direction response"]


def _forecasts(kept: Sequence[PerResponseGradients], step: OptimizerPreview) -> list[_Forecast]:
    def updates(parameter: nn.Parameter, rows: RowSlice) -> list[Tensor]:
        return [step.plain(parameter, rows), *([step.update(parameter, rows)] if step.foretold else [])]

    with _full_precision(kept):
        changes = changes_along_updates(kept, updates, directions=2 if step.foretold else 1)
        return [_Forecast(k.logps, k.pair_gram(), change) for k, change in zip(kept, changes, strict=True)]


def _full_precision(kept: Sequence[PerResponseGradients]) -> AbstractContextManager[object]:
    """Autocast is for the model, not for what is computed from its gradients."""
    return torch.autocast(kept[0].logps.device.type, enabled=False) if kept else nullcontext()
