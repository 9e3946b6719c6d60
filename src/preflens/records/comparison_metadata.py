"""Metadata of a comparison: predicted changes of each objective, in one step and over many.

The *margin* is always the mean over held-out pairs of the change of the chosen log-prob minus the change of the
rejected one, nats, summed over tokens.
"""

from dataclasses import dataclass

from preflens.records.common import Argument, DataProvenance, Estimate, ModelProvenance

COMPARISON_FORMAT = 3

# Scales of a rollout: at the learning rate of the comparison, and at each objective's rate of equal margin gain.
LEARNING_RATE, EQUAL_MARGIN = "learning rate", "equal margin"


@dataclass(frozen=True)
class BeforeSplit:
    """Rows dropped or noted before pairs were held out. They belong to neither side.

    Attributes:
        dropped: number of rows that were left out, by reason.
        noted: number of rows with a peculiarity, by peculiarity.
    """

    dropped: dict[str, int]
    noted: dict[str, int]


@dataclass(frozen=True)
class MeanChange:
    """Mean changes of log-probs over pairs in one step, nats.

    Attributes:
        chosen: mean over the chosen responses.
        rejected: mean over the rejected responses.
        difference: chosen minus rejected. For held-out pairs it is the change of the margin.
    """

    chosen: Estimate
    rejected: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Trajectory:
    """Mean changes of log-probs since the start, along steps with the Gram held fixed, nats.

    Attributes:
        scale: `learning rate` (that of the comparison) or `equal margin` (a learning rate at which all objectives would
            gain the same margin if every step were like the first step of all training pairs).
        learning_rate: η.
        steps: numbers of steps after which the means are recorded.
        train_chosen: mean over the followed training pairs. None where the rollout has ended.
        train_rejected: likewise for rejected responses.
        heldout_chosen: mean over the followed held-out pairs.
        heldout_rejected: likewise for rejected responses.
        broke_off: first step whose log-probs or coefficients cannot be represented, because log-probs diverge. None if
            there is none.
        impossible_from: first step after which some log-prob would be above zero, which is impossible. None if there is
            none.
    """

    scale: str
    learning_rate: float
    steps: tuple[int, ...]
    train_chosen: tuple[float | None, ...]
    train_rejected: tuple[float | None, ...]
    heldout_chosen: tuple[float | None, ...]
    heldout_rejected: tuple[float | None, ...]
    broke_off: int | None
    impossible_from: int | None

    @property
    def ended(self) -> int | None:
        """The first missing step, or None if the rollout reaches its last step."""
        return self.impossible_from if self.broke_off is None else self.broke_off


@dataclass(frozen=True)
class ObjectiveComparison:
    """Predicted changes of one objective.

    Attributes:
        label: name, and parameters that are not the default. After a `+`, the mitigation of its steps.
        name: name in `OBJECTIVES`.
        parameters: all hyperparameters of the objective.
        in_grid: whether it is a point of a grid.
        outcomes: share of training pairs by outcome of a step on the pair alone.
        train: mean change of training pairs in one step of their update batch, at the learning rate of the comparison.
        heldout: mean change of held-out pairs in one step on the mean loss of all training pairs, at that rate. It is
            the mean over update batches of equal size.
        chosen_per_margin: mean change of held-out chosen log-probs over the margin gained, nats per nat of margin. No
            value where the margin does not clearly grow, that is, where its interval is not above zero.
        rejected_per_margin: likewise for rejected responses.
        margin_scale: factor on the learning rate at which the margin gains one nat in that step, to first order. None
            where the margin does not clearly grow.
        negative: number of training pairs with a coefficient that is zero or negative.
        same_direction_as: an earlier objective whose coefficients are a positive multiple of these on all training
            pairs, so that the two first steps differ in length only. Else None.
        trajectories: one per scale.
    """

    label: str
    name: str
    parameters: dict[str, float]
    in_grid: bool
    outcomes: dict[str, float]
    train: MeanChange
    heldout: MeanChange
    chosen_per_margin: Estimate
    rejected_per_margin: Estimate
    margin_scale: float | None
    negative: int
    same_direction_as: str | None
    trajectories: tuple[Trajectory, ...]

    @property
    def margin(self) -> Estimate:
        """Change of the margin in the first step at the learning rate of the comparison, nats."""
        return self.heldout.difference

    def per_margin(self, change: float | None) -> float | None:
        """Divide a change in the first step by the margin gained in it.

        Args:
            change: change at the learning rate of the comparison, nats.

        Returns:
            Nats per nat of margin. None where the margin does not clearly grow.
        """
        return None if change is None or self.margin_scale is None else change * self.margin_scale


@dataclass(frozen=True)
class SmallStep:
    """One small real step on an update batch, compared with its prediction over held-out pairs.

    Attributes:
        update_batch: number of the update batch.
        step_size: learning rate, chosen so that held-out log-probs change by about a hundredth of a nat.
        r2_chosen: 1 − Σ(forecast − measured)²/Σ(measured − mean)² over the held-out chosen responses. None without
            spread.
        r2_rejected: likewise for rejected responses.
        r2_margin: likewise for chosen minus rejected changes, whose mean is the change of the margin.
        chosen_forecast: predicted change of each followed held-out chosen log-prob, in the order of the data, nats.
        chosen_measured: measured change of each.
        rejected_forecast: likewise for rejected responses.
        rejected_measured: likewise for rejected responses.
    """

    update_batch: int
    step_size: float
    r2_chosen: float | None
    r2_rejected: float | None
    r2_margin: float | None
    chosen_forecast: tuple[float, ...]
    chosen_measured: tuple[float, ...]
    rejected_forecast: tuple[float, ...]
    rejected_measured: tuple[float, ...]


@dataclass(frozen=True)
class RolloutCheck:
    """Real steps of one objective at one scale, compared with its rollout over held-out pairs.

    Attributes:
        objective: label of the objective.
        scale: as in `Trajectory`.
        learning_rate: η of every step.
        steps: numbers of steps after which both are compared.
        chosen_measured: measured mean change of the held-out chosen log-probs, nats.
        rejected_measured: likewise for rejected responses.
        error: ‖rollout − measured‖ / ‖measured‖ over all held-out responses. None where their changes are not clearly
            above the rounding floor.
        within_ten_percent: the last step up to which no error exceeds a tenth. 0 if the first error does, None without
            errors.
        rounding_floor: root mean square of what rounding alone does to the measured change of a response, nats.
        diverged: whether log-probs or coefficients became too large to represent, after the last of the steps.
    """

    objective: str
    scale: str
    learning_rate: float
    steps: tuple[int, ...]
    chosen_measured: tuple[float, ...]
    rejected_measured: tuple[float, ...]
    error: tuple[float | None, ...]
    within_ten_percent: int | None
    rounding_floor: float
    diverged: bool


@dataclass(frozen=True)
class RealSteps:
    """Real steps of one objective.

    Attributes:
        objective: label of the objective.
        small: small steps, one per update batch.
        rollouts: real trajectories, one per scale.
    """

    objective: str
    small: tuple[SmallStep, ...]
    rollouts: tuple[RolloutCheck, ...]


@dataclass(frozen=True, kw_only=True)
class ComparisonMetadata:
    """Everything about a comparison that is not a row of its tables.

    Attributes:
        format_version: version of this record.
        created: when, in UTC.
        command: command line that repeats it, or None.
        versions: versions of preflens and of the packages its numbers depend on.
        arguments: arguments by their names on the command line.
        data: provenance of the training pairs.
        probe: provenance of the held-out pairs.
        before_split: rows dropped and noted before one data set was split into the two. None if the held-out pairs are
            a data set of their own.
        model: provenance of the model.
        update_batches: number of training pairs of each update batch, in the order of the batches' numbers.
        followed: numbers of training pairs and of held-out pairs that the rollout follows.
        text_limit: number of characters kept of each text.
        objectives: one entry per objective, grid points included.
        left_out: objectives that `all` leaves out because they cannot be compared here, with the reason.
        per_pair: how the per-pair values of the held-out pairs were computed, or None.
        real_steps: one entry per verified objective.
        seconds: wall-clock time by part.
    """

    format_version: int
    created: str
    command: str | None
    versions: dict[str, str]
    arguments: dict[str, Argument]
    data: DataProvenance
    probe: DataProvenance
    before_split: BeforeSplit | None
    model: ModelProvenance
    update_batches: tuple[int, ...]
    followed: tuple[int, ...]
    text_limit: int
    objectives: tuple[ObjectiveComparison, ...]
    left_out: dict[str, str]
    per_pair: str | None
    real_steps: tuple[RealSteps, ...]
    seconds: dict[str, float]
