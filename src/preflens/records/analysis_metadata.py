"""The facts around the tables of an analysis: which data, which model, what the numbers add up to."""

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
        chosen_ratio: sum of inner products over the sum of squared chosen norms. Above 1, DPO-like coefficients make
            the chosen response fall on average (own pair).
        rejected_ratio: the same with the rejected norms. Above 1 the rejected response rises.
    """

    cosine: Estimate
    chosen_norm: Estimate
    rejected_norm: Estimate
    chosen_ratio: Estimate
    rejected_ratio: Estimate


@dataclass(frozen=True)
class LayerSums:
    """One layer's share of the geometry: means over pairs; the layers add up to the whole.

    Attributes:
        name: the layer.
        chosen_sq_norm: its part of the squared chosen norm.
        rejected_sq_norm: its part of the squared rejected norm.
        inner_product: its part of the inner product.
    """

    name: str
    chosen_sq_norm: float
    rejected_sq_norm: float
    inner_product: float


@dataclass(frozen=True)
class ObjectiveSummary:
    """What one plain step of an objective is predicted to do.

    Attributes:
        label: name, and parameters that are not the default.
        name: name in the table.
        parameters: all parameter values.
        chosen_change: mean change of chosen log-probs with cross-pair terms, nats a step.
        rejected_change: the same for the rejected ones.
        margin_change: their difference.
        chosen_per_margin: mean chosen change over mean margin change: nats per nat of margin; None where the margin
            does not clearly widen.
        rejected_per_margin: the same for the rejected ones.
        outcomes: share of pairs by own-pair outcome.
        inside_band: share of pairs inside the band.
        negative: pairs with a coefficient that is not positive.
        same_direction_as: an earlier objective whose coefficients are a positive multiple of these on all pairs, so
            that the two steps differ in length only; or None.
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
    """Forecast beside fact, for one objective: real plain steps on update batches, taken and undone.

    Attributes:
        objective: label.
        batches: update batches stepped.
        step_sizes: learning rate of each step, chosen so that changes are about a hundredth of a nat.
        ids: pair of each point.
        sides: `chosen` or `rejected`, of each point.
        forecast: predicted change, nats.
        measured: change that happened, nats.
        slope: of measured on forecast, through the origin.
        correlation: of the two; None with no spread.
        signs_right: share of points above the rounding floor whose sign was forecast.
        rounding_floor: size of what rounding alone does to a measured change, nats.
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
        command: the command line that repeats it, or None.
        versions: of preflens and what it stands on.
        arguments: by name.
        data: which pairs.
        model: which model.
        update_batches: pairs of each update batch, in the order of their numbers.
        text_limit: characters kept of each text.
        geometry: means over pairs.
        layers: the geometry by layer.
        objectives: one summary an objective.
        verification: one an objective, if asked for.
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
