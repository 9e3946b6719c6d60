"""First-order forecasts: per-response gradients times the updates of a step."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.gram.products.along_updates import RowSlice
from preflens.gram.readers.first_order_changes import changes_along_updates
from preflens.gram.readers.stored_gradients import PerResponseGradients
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.optimizer_preview import OptimizerPreview
from preflens.training.probe.result import ProbeResult, change_of, join_passes
from preflens.types import PairGram


@dataclass(frozen=True)
class PassForecast:
    """The forecast of one pass, chosen responses first.

    Attributes:
        logps: before the step, nats.
        gram: of each pair.
        changes: nats; along plain gradient descent, then along the optimizer's update where that is supported.
    """

    logps: Float64[Tensor, " response"]
    gram: PairGram
    changes: Float64[Tensor, "direction response"]


def forecast_passes(gradients: Sequence[PerResponseGradients], preview: OptimizerPreview) -> list[PassForecast]:
    """Forecast the changes of the log-probs of several passes.

    Args:
        gradients: of each pass.
        preview: predicts the optimizer's update.

    Returns:
        One forecast per pass.
    """

    def updates(parameter: nn.Parameter, rows: RowSlice) -> list[Tensor]:
        plain = preview.plain(parameter, rows)
        return [plain, preview.update(parameter, rows)] if preview.supported else [plain]

    with _without_autocast(gradients):
        changes = changes_along_updates(gradients, updates, directions=2 if preview.supported else 1)
        return [PassForecast(g.logps, g.pair_gram(), change) for g, change in zip(gradients, changes, strict=True)]


def join_forecasts(
    forecasts: Sequence[PassForecast], pairs: tuple[TokenizedPair, ...], *, supported: bool
) -> ProbeResult:
    """Concatenate the forecasts of several passes.

    Args:
        forecasts: at least one.
        pairs: of all passes, in order.
        supported: whether they hold a forecast of the optimizer's update.

    Returns:
        The result before the step, without coefficients.
    """
    changes, logps = join_passes([f.changes for f in forecasts]), join_passes([f.logps for f in forecasts])
    chosen, rejected = logps.chunk(2)
    return ProbeResult(
        pairs=pairs,
        chosen_logp=chosen,
        rejected_logp=rejected,
        gram=PairGram.concatenate([f.gram for f in forecasts]),
        coefficients=None,
        plain=change_of(changes[0]),
        optimizer=change_of(changes[1]) if supported else None,
    )


def _without_autocast(gradients: Sequence[PerResponseGradients]) -> AbstractContextManager[object]:
    """Autocast is for the model, not for products of its gradients."""
    return torch.autocast(gradients[0].logps.device.type, enabled=False) if gradients else nullcontext()
