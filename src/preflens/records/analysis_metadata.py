"""Metadata of an analysis: data, model, arguments, and means over its tables."""

from dataclasses import dataclass

from preflens.records.common import Argument, DataProvenance, Estimate, ModelProvenance

FORMAT_VERSION = 3


@dataclass(frozen=True)
class Geometry:
    """Means over pairs of the gradient geometry.

    Attributes:
        cosine: cosine of the two gradients of a pair.
        chosen_norm: norm of the chosen gradient, nats per parameter unit.
        rejected_norm: norm of the rejected gradient.
        chosen_ratio: sum of inner products over the sum of squared chosen norms, no unit. Above 1, a step on a pair
            alone with equal coefficients, as in DPO, lowers the chosen log-prob on average.
        rejected_ratio: likewise with the rejected norms. Above 1, such a step raises the rejected log-prob.
    """

    cosine: Estimate
    chosen_norm: Estimate
    rejected_norm: Estimate
    chosen_ratio: Estimate
    rejected_ratio: Estimate


@dataclass(frozen=True)
class LayerSums:
    """One layer's part of the geometry, as means over pairs. The parts add up to the means of the model.

    Attributes:
        name: name of the layer.
        chosen_sq_norm: its part of the squared chosen norm, nats² / parameter².
        rejected_sq_norm: its part of the squared rejected norm.
        inner_product: its part of the inner product.
    """

    name: str
    chosen_sq_norm: float
    rejected_sq_norm: float
    inner_product: float


@dataclass(frozen=True)
class ObjectiveSummary:
    """Predicted changes in one plain step of an objective.

    Attributes:
        label: name, and parameters that are not the default.
        name: name in `OBJECTIVES`.
        parameters: all hyperparameters of the objective.
        chosen_change: mean change of chosen log-probs in a step of their update batch, nats.
        rejected_change: likewise for rejected responses.
        margin_change: chosen minus rejected change.
        chosen_per_margin: mean chosen change over mean margin change, nats per nat of margin. No value where the margin
            does not clearly widen.
        rejected_per_margin: likewise for rejected responses.
        outcomes: share of pairs by outcome of a step on the pair alone.
        inside_band: share of pairs whose coefficient ratio is inside the band.
        negative: number of pairs with a coefficient that is zero or negative.
        same_direction_as: an earlier objective whose coefficients are a positive multiple of these on all pairs, so
            that the two steps differ in length only. Else None.
    """

    label: str
    name: str
    parameters: dict[str, float]
    chosen_change: Estimate
    rejected_change: Estimate
    margin_change: Estimate
    chosen_per_margin: Estimate
    rejected_per_margin: Estimate
    outcomes: dict[str, Estimate]
    inside_band: Estimate
    negative: int
    same_direction_as: str | None


@dataclass(frozen=True)
class Verification:
    """Real plain steps of one objective on update batches, compared with their predictions and undone.

    Attributes:
        objective: label of the objective.
        batches: number of update batches.
        step_sizes: learning rate of each step, chosen so that changes are about a hundredth of a nat.
        ids: id of the pair of each response.
        sides: `chosen` or `rejected`, of each response.
        forecast: predicted change of each response, nats.
        measured: measured change of each response, nats.
        slope: of measured on forecast, through the origin. None if all forecasts are zero.
        correlation: Pearson's, of the two. None without spread.
        signs_right: share of the forecasts above the rounding floor with the measured sign. None without any.
        rounding_floor: root mean square of what rounding alone does to a measured change, nats.
    """

    objective: str
    batches: int
    step_sizes: tuple[float, ...]
    ids: tuple[str, ...]
    sides: tuple[str, ...]
    forecast: tuple[float, ...]
    measured: tuple[float, ...]
    slope: float | None
    correlation: float | None
    signs_right: float | None
    rounding_floor: float


@dataclass(frozen=True, kw_only=True)
class AnalysisMetadata:
    """Everything about an analysis that is not a row of its tables.

    Attributes:
        format_version: version of this record.
        created: when, in UTC.
        command: command line that repeats it, or None.
        versions: versions of preflens and of the packages its numbers depend on.
        arguments: arguments by their names on the command line.
        data: provenance of the pairs.
        model: provenance of the model.
        update_batches: number of pairs of each update batch, in the order of the batches' numbers.
        text_limit: number of characters kept of each text.
        geometry: means over pairs.
        layers: the geometry by layer.
        objectives: one summary per objective.
        verification: one entry per objective. Empty if no real steps were taken.
        seconds: wall-clock time by part.
    """

    format_version: int
    created: str
    command: str | None
    versions: dict[str, str]
    arguments: dict[str, Argument]
    data: DataProvenance
    model: ModelProvenance
    update_batches: tuple[int, ...]
    text_limit: int
    geometry: Geometry
    layers: tuple[LayerSums, ...]
    objectives: tuple[ObjectiveSummary, ...]
    verification: tuple[Verification, ...]
    seconds: dict[str, float]
