"""The facts around the tables of an analysis: which data, which model, what the numbers add up to."""

from dataclasses import dataclass

FORMAT_VERSION = 3

Argument = str | int | float | bool | None


@dataclass(frozen=True)
class Estimate:
    """A number from a sample, with a 95 % bootstrap interval where there are enough units to resample.

    Attributes:
        value: the statistic of the sample; None where it is undefined.
        low: lower end of the interval, or None.
        high: upper end of the interval, or None.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class DataProvenance:
    """Which pairs were analysed, and what became of the others.

    Attributes:
        source: where the rows came from.
        fingerprint: hash of the ids and texts of the analysed pairs.
        rows: rows of the data set.
        sampled: rows taken from it.
        pairs: pairs analysed.
        dropped: how many sampled rows were left out, by reason.
        noted: how many analysed pairs are special (response cut at the maximal length, …), by what.
        max_length: tokens after which a sequence is cut.
    """

    source: str
    fingerprint: str
    rows: int
    sampled: int
    pairs: int
    dropped: dict[str, int]
    noted: dict[str, int]
    max_length: int


@dataclass(frozen=True)
class ModelProvenance:
    """Which model was analysed.

    Attributes:
        name: hub id, folder, or what the caller said.
        architecture: class of the model.
        fingerprint: hash of all its weights.
        dtype: type of its trainable parameters.
        device: where it ran.
        parameters: numbers in all its parameters.
        trainable: numbers in the parameters that gradients were taken of.
        selection: how those were chosen.
        reference: where the reference log-probs came from.
    """

    name: str
    architecture: str
    fingerprint: str
    dtype: str
    device: str
    parameters: int
    trainable: int
    selection: str
    reference: str


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


@dataclass(frozen=True)
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
