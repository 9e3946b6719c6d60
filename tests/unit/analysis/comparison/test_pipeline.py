"""The configuration of a comparison: the rate of equal margin gain, and what is recorded."""

import pytest

from preflens.analysis.comparison.pipeline import ComparisonConfig
from preflens.analysis.comparison.selection import choose_objectives
from preflens.analysis.comparison.summary import FirstChange
from preflens.analysis.options import ComparisonOptions, DataOptions, StepOptions
from preflens.records.common import Estimate
from preflens.records.comparison_metadata import MeanChange


def config():
    return ComparisonConfig(
        choice=choose_objectives(["dpo", "slic"], [], reference="self"), verified={},
        data=DataOptions(seed=3), step=StepOptions(learning_rate=0.1),
        options=ComparisonOptions(horizon=(50, 10), margin_gain=2.0, verify_batches=4),
    )  # fmt: skip


def gaining(margin):
    """A first step that changes the margin by so many nats, without an interval."""
    change = MeanChange(Estimate(margin), Estimate(0.0), Estimate(margin))
    return FirstChange(change, change, Estimate(1.0), Estimate(0.0))


def test_the_rate_of_equal_margin_gain_reaches_the_gain_at_the_last_step():
    # At rate 0.1 one step gains 0.25 nats; 50 steps should gain 2, so a step gains 0.04 at a rate of 0.016.
    assert config().equal_margin_rate(gaining(0.25)) == pytest.approx(0.016)
    assert config().equal_margin_rate(gaining(-0.25)) is None


def test_arguments_are_recorded_by_their_names_on_the_command_line():
    arguments = config().arguments()
    assert (arguments["objectives"], arguments["horizon"], arguments["small_steps"]) == ("dpo slic", "10,50", 4)
    assert (arguments["margin_gain"], arguments["seed"], arguments["learning_rate"]) == (2.0, 3, 0.1)
