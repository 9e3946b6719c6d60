"""The facts around the tables of a comparison: what each objective would do, once and over many steps.

*Margin* is one thing everywhere: the mean over held-out pairs of the change of the chosen log-prob less the change of
the rejected one, nats, summed over tokens.
"""

from dataclasses import dataclass

from preflens.records.common import Argument, DataProvenance, Estimate, ModelProvenance

COMPARISON_FORMAT = 3

# Scales of a rollout: at the rate asked for, and at a rate of each objective's own.
LEARNING_RATE, EQUAL_MARGIN = "learning rate", "equal margin"


@dataclass(frozen=True)
class BeforeSplit:
    """What became of rows before some pairs were held out; such rows are on neither side.

    Attributes:
        dropped: how many rows were left out, by reason.
        noted: how many rows are special, by what.
    """

    dropped: dict[str, int]
    noted: dict[str, int]


@dataclass(frozen=True)
class Change:
    """Mean changes of the log-probs of some pairs in one step, nats.

    Attributes:
        chosen: of the chosen responses.
        rejected: of the rejected responses.
        difference: of chosen less rejected; of held-out pairs it is the margin.
    """

    chosen: Estimate
    rejected: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Trajectory:
    """Mean changes of log-probs along steps with the Gram held fixed, since the start, nats.

    Attributes:
        scale: `learning rate` (the one asked for) or `equal margin` (a rate of this objective's own, so that all
            objectives would gain the same margin, were every step like the first step of all training pairs).
        learning_rate: η.
        steps: after which the means are given.
        train_chosen: mean over the training pairs that are followed; None where the rollout has ended.
        train_rejected: the same for rejected responses.
        heldout_chosen: mean over the held-out pairs that are followed.
        heldout_rejected: the same for rejected responses.
        broke_off: where the rollout ends because log-probs diverge: the first step whose log-probs or coefficients
            cannot be represented; or None.
        impossible_from: where it ends because some log-prob would be above zero, which cannot be: the first such step;
            or None.
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
        """The first step that is missing, or None where the rollout reaches its last step."""
        return self.impossible_from if self.broke_off is None else self.broke_off


@dataclass(frozen=True)
class ObjectiveComparison:
    """What one objective would do.

    Attributes:
        label: name, and parameters that are not the default; after a `+` the mitigation that its steps go through.
        name: name in the table.
        parameters: all parameter values.
        in_grid: whether it is a point of a grid.
        outcomes: share of training pairs by own-pair outcome.
        train: mean change of training pairs in one step of their update batch, at the learning rate asked for.
        heldout: mean change of held-out pairs in one step on the mean loss of all training pairs, at that rate: the
            mean over update batches of equal size.
        chosen_per_margin: mean change of held-out chosen log-probs over the margin gained: nats per nat of margin; None
            where the margin does not clearly grow, that is where its interval does not lie above zero.
        rejected_per_margin: the same for the rejected ones.
        margin_scale: factor on the learning rate at which the margin gains one nat in that step, to first order; None
            where the margin does not clearly grow.
        negative: training pairs with a coefficient that is zero or negative.
        same_direction_as: an earlier objective whose coefficients are a positive multiple of these on all training
            pairs, so that the two first steps differ in length only; or None.
        trajectories: one a scale.
    """

    label: str
    name: str
    parameters: dict[str, float]
    in_grid: bool
    outcomes: dict[str, float]
    train: Change
    heldout: Change
    chosen_per_margin: Estimate
    rejected_per_margin: Estimate
    margin_scale: float | None
    negative: int
    same_direction_as: str | None
    trajectories: tuple[Trajectory, ...]

    @property
    def margin(self) -> Estimate:
        """Change of the margin in that step at the learning rate asked for, nats."""
        return self.heldout.difference

    def per_margin(self, change: float | None) -> float | None:
        """Put a change of the first step over the margin gained in it.

        Args:
            change: at the learning rate asked for, nats.

        Returns:
            Nats for every nat of margin; None where the margin does not clearly grow.
        """
        return None if change is None or self.margin_scale is None else change * self.margin_scale


@dataclass(frozen=True)
class SmallStep:
    """One small real step on an update batch, forecast beside fact over held-out pairs.

    Attributes:
        update_batch: its number.
        step_size: learning rate, chosen so that held-out log-probs move by about a hundredth of a nat.
        r2_chosen: 1 − Σ(forecast − fact)²/Σ(fact − mean)² over the held-out chosen responses; None with no spread.
        r2_rejected: over the rejected ones.
        r2_margin: over the differences of the two, whose mean is the margin.
        chosen_forecast: change of each held-out chosen log-prob that is followed, in the order of the data, nats.
        chosen_measured: what happened.
        rejected_forecast: change of each held-out rejected log-prob.
        rejected_measured: what happened.
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
    """Real steps beside the rollout, over held-out pairs; of one objective and scale.

    Attributes:
        objective: label.
        scale: as in `Trajectory`.
        learning_rate: η of every step.
        steps: after which both are compared.
        chosen_measured: mean change of the held-out chosen log-probs that happened, nats.
        rejected_measured: the same for the rejected ones.
        error: ‖rollout − fact‖ / ‖fact‖ over all held-out responses; None where they have not moved clearly above the
            rounding floor.
        within_ten_percent: the last of the steps with an error up to which it never exceeds a tenth; 0 if it does at
            the first of them, None where there is none.
        rounding_floor: root mean square of what rounding alone does to the measured change of a response, nats.
        diverged: whether the real steps left what can be represented, after the last of the steps.
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
    """What real steps of one objective showed.

    Attributes:
        objective: label.
        small: small steps, one an update batch.
        rollouts: real trajectories.
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
        command: the command line that repeats it, or None.
        versions: of preflens and what it stands on.
        arguments: by name.
        data: the training pairs.
        probe: the held-out pairs.
        before_split: what became of rows before one data set was split into the two; None where the held-out pairs are
            data of their own.
        model: which model.
        update_batches: training pairs of each update batch, in the order of their numbers.
        followed: how many training pairs and how many held-out pairs the rollout follows.
        text_limit: characters kept of each text.
        objectives: one entry an objective, grid points among them.
        left_out: objectives that were asked for with `all` and cannot be compared here, with the reason.
        per_pair: how the per-pair values of the held-out pairs were computed, or None.
        real_steps: one an objective, if asked for.
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
