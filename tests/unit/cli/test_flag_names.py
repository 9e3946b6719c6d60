"""Flags for the arguments of Python functions."""

from dataclasses import fields
from inspect import signature

import pytest

from preflens import analyze, compare
from preflens.analysis.options import ComparisonOptions, DataOptions, RunOptions, StepOptions
from preflens.cli.flag_names import flags_of

SHARED = [f.name for kind in (DataOptions, StepOptions, RunOptions) for f in fields(kind)]
NO_FLAG = {"tokenizer", "pairs", "step", "comparison", "run"}


@pytest.mark.parametrize(
    ("command", "function", "more"),
    [("analyze", analyze, []), ("compare", compare, [f.name for f in fields(ComparisonOptions)])],
)
def test_every_argument_and_every_option_of_a_function_has_a_flag(command, function, more):
    assert {*signature(function).parameters, *SHARED, *more} - NO_FLAG <= set(flags_of(command))


def test_renamed_arguments_have_the_flag_of_the_command():
    assert flags_of("analyze")["verify_batches"] == "--verify"
    assert flags_of("analyze")["trainable"] == "--parameters"
    flags = flags_of("compare")
    assert [flags[n] for n in ("held_out", "held_out_fraction", "verify_objectives", "verify_batches")] == [
        "--probe", "--probe-fraction", "--verify", "--small-steps",
    ]  # fmt: skip
    assert len(set(flags.values())) == len(flags)
    assert flags_of("demo") == flags_of(None) == {}
