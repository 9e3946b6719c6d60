"""Options of `analyze` and `compare`, grouped by subject: data, step, run, and what only a comparison computes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

from preflens.errors import InputError

LARGEST_LEARNING_RATE = 1e100  # times squared norms and sums of them, it has to stay below float64's 1.8e308


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which pairs are used, and how much of each.

    Attributes:
        max_length: tokens of prompt and response. A longer sequence loses its end, as in TRL. None for the smaller of
            1024 and the model's context.
        limit: size of a random sample of usable pairs. None for all of them. `compare` samples before it holds pairs
            out.
        seed: fixes everything that is drawn: the sample, the held-out pairs and the update batches.

    Raises:
        InputError: `limit` is below 1.

    Example:
        >>> DataOptions(limit=200).seed
        0
    """

    max_length: int | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_at_least("limit", self.limit, 1)


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """The plain gradient step that is predicted.

    Attributes:
        trainable: which parameters step: `trainable` (those with `requires_grad`), `all`, `lora` (what TRL trains with
            an adapter), or a regular expression that is searched for in their names.
        learning_rate: η of the step.
        update_batch_size: pairs that share a step, at most. Batches are of equal size, or differ by one pair. `seed`
            draws them.

    Raises:
        InputError: a number is out of range.

    Example:
        >>> StepOptions(trainable="lora", update_batch_size=8).learning_rate
        1e-06
    """

    trainable: str = "trainable"
    learning_rate: float = 1e-6
    update_batch_size: int = 16

    def __post_init__(self) -> None:
        _check_at_least("update_batch_size", self.update_batch_size, 1)
        if not 0 < self.learning_rate <= LARGEST_LEARNING_RATE:
            raise InputError(
                f"`learning_rate` should be above 0 and at most {LARGEST_LEARNING_RATE:g}, beyond which predictions "
                f"overflow. Found {self.learning_rate:g}.",
                arguments=["learning_rate"],
            )


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where results are saved, and what a run may take. No option here changes a number beyond rounding.

    Attributes:
        out: folder for the results. Finished parts are kept in it until the results are saved. An interrupted run
            continues from them, and a different run is refused while they exist. None saves nothing.
        discard: delete what an unfinished run has left in `out`.
        micro_batch: pairs in a forward pass, which bounds memory. `auto`: as many as keep a pass within a quarter of
            the free memory.
        progress: show progress bars on standard error.

    Raises:
        InputError: `micro_batch` is below 1.

    Example:
        >>> RunOptions(out="results", progress=False).micro_batch
        'auto'
    """

    out: str | Path | None = None
    discard: bool = False
    micro_batch: int | Literal["auto"] = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        _check_at_least("micro_batch", None if self.micro_batch == "auto" else self.micro_batch, 1)


@dataclass(frozen=True, kw_only=True)
class ComparisonOptions:
    """What `compare` computes beyond the mean first step of each objective.

    The *margin* is the mean over held-out pairs of the change of the chosen log-prob minus the change of the rejected
    one, nats.

    Attributes:
        held_out_fraction: share of the pairs to hold out, whole prompts at a time. Ignored if held-out pairs are given.
        per_pair: also predict the change of each held-out pair.
        horizon: numbers of steps after which the rollout is reported.
        margin_gain: nats of margin that the rescaled rollout gains by its last step, at the pace of its first.
        rollout_pairs: training pairs that the rollout follows, in whole update batches (at least one), and likewise
            held-out pairs.
        verify_objectives: labels or names of compared objectives, or `all`. Their steps are really taken, measured and
            undone.
        verify_batches: update batches that take one small real step each, for `verify_objectives`.

    Raises:
        InputError: a number is out of range.

    Example:
        >>> ComparisonOptions(horizon=(10, 1, 10)).horizon
        (1, 10)
    """

    held_out_fraction: float = 0.2
    per_pair: bool = False
    horizon: Sequence[int] = (1, 10, 100)
    margin_gain: float = 1.0
    rollout_pairs: int = 32
    verify_objectives: Sequence[str] = ()
    verify_batches: int = 2

    def __post_init__(self) -> None:
        if not self.horizon or min(self.horizon) < 1:
            raise InputError(
                f"`horizon` should hold numbers of steps, each at least 1. Found {list(self.horizon)}.",
                arguments=["horizon"],
            )
        object.__setattr__(self, "horizon", tuple(sorted(set(self.horizon))))
        object.__setattr__(self, "verify_objectives", tuple(self.verify_objectives))
        if not (isfinite(self.margin_gain) and self.margin_gain > 0):
            raise InputError(f"`margin_gain` should be above 0. Found {self.margin_gain:g}.", arguments=["margin_gain"])
        _check_at_least("rollout_pairs", self.rollout_pairs, 1)
        _check_at_least("verify_batches", self.verify_batches, 0)


def _check_at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise InputError(f"`{name}` should be at least {least}. Found {value}.", arguments=[name])
