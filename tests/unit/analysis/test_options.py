"""Option objects: they share one meaning in `analyze` and `compare`, and refuse values that cannot work."""

from dataclasses import FrozenInstanceError, fields
from inspect import signature

import pytest

from preflens import analyze, compare
from preflens.analysis.options import ComparisonOptions, DataOptions, RunOptions, StepOptions
from preflens.errors import InputError

ALL = (DataOptions, StepOptions, RunOptions, ComparisonOptions)


@pytest.mark.parametrize("function", [analyze, compare])
def test_a_function_has_twelve_parameters_at_most(function):
    assert len(signature(function).parameters) <= 12


def test_analyze_and_compare_share_their_options():
    shared = ("data", "step", "run", "reference")
    assert all(signature(f).parameters[n].default == signature(analyze).parameters[n].default
               for f in (analyze, compare) for n in shared)  # fmt: skip


def test_no_two_groups_have_a_field_of_the_same_name():
    names = [field.name for kind in ALL for field in fields(kind)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", ALL)
def test_options_are_frozen_and_take_keywords_only(kind):
    with pytest.raises(TypeError, match="positional"):
        kind(1)
    with pytest.raises(FrozenInstanceError):
        setattr(kind(), fields(kind)[0].name, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataOptions(limit=0), "`limit` should be at least 1. Found 0"),
        (lambda: StepOptions(update_batch_size=0), "`update_batch_size` should be at least 1"),
        (lambda: StepOptions(learning_rate=float("nan")), "`learning_rate` should be above 0 and at most 1e.100"),
        (lambda: StepOptions(learning_rate=2e100), "Found 2e.100"),
        (lambda: RunOptions(micro_batch=-1), "`micro_batch` should be at least 1. Found -1"),
        (lambda: ComparisonOptions(horizon=()), "`horizon` should hold numbers of steps"),
        (lambda: ComparisonOptions(horizon=(3, 0)), "each at least 1"),
        (lambda: ComparisonOptions(margin_gain=float("inf")), "`margin_gain` should be above 0"),
        (lambda: ComparisonOptions(rollout_pairs=0), "`rollout_pairs` should be at least 1"),
        (lambda: ComparisonOptions(verify_batches=-1), "`verify_batches` should be at least 0"),
    ],
)
def test_a_value_out_of_range_is_refused_when_the_options_are_made(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_values_at_the_edge_are_accepted():
    assert StepOptions(learning_rate=1e100, update_batch_size=1).learning_rate == 1e100
    assert ComparisonOptions(horizon=[10, 1, 10], verify_batches=0).horizon == (1, 10)
