"""Records that analyses and comparisons share: estimates, and provenance of data and model."""

from dataclasses import dataclass

Argument = str | int | float | bool | None


@dataclass(frozen=True)
class Estimate:
    """A statistic of a sample, with a 95 % bootstrap interval if there are enough units to resample.

    Attributes:
        value: the statistic, or None where it is undefined.
        low: lower end of the interval, or None.
        high: upper end of the interval, or None.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class DataProvenance:
    """Which pairs were used, and what was dropped.

    Attributes:
        source: where the rows came from.
        fingerprint: hash of the ids and texts of the used pairs.
        rows: rows of the data set.
        sampled: rows in the sample.
        pairs: used pairs.
        dropped: number of sampled rows that were left out, by reason.
        noted: number of used pairs with a peculiarity (response cut at the maximal length, …), by peculiarity.
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
    """Which model was measured.

    Attributes:
        name: hub id, folder, or a name that the caller gave.
        architecture: class of the model.
        fingerprint: hash of all its weights.
        dtype: type of its trainable parameters.
        device: device of the model.
        parameters: number of scalars in all its parameters.
        trainable: number of scalars in its trainable parameters.
        selection: how the trainable parameters were chosen.
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
