"""What the records of analyses and comparisons share: estimates, and provenance of data and model."""

from dataclasses import dataclass

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
