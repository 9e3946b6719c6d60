"""Flat keyword arguments for tests, put into the option objects of `analyze` and `compare`."""

from dataclasses import fields

from preflens import analyze, compare
from preflens.analysis.options import ComparisonOptions, DataOptions, RunOptions, StepOptions
from preflens.analysis.run_label import labeled_run

ANALYSIS_GROUPS = {"data": DataOptions, "step": StepOptions, "run": RunOptions}
COMPARISON_GROUPS = ANALYSIS_GROUPS | {"comparison": ComparisonOptions}


def flat_analyze(model, tokenizer, pairs, *, name=None, command=None, **arguments):
    """Call `analyze` without a progress bar; fields of its option classes and of its label are arguments."""
    with labeled_run(model_name=name, command=command):
        return analyze(model, tokenizer, pairs, **grouped(ANALYSIS_GROUPS, arguments))


def flat_compare(model, tokenizer, pairs, *, name=None, command=None, **arguments):
    """Call `compare` without a progress bar; fields of its option classes and of its label are arguments."""
    with labeled_run(model_name=name, command=command):
        return compare(model, tokenizer, pairs, **grouped(COMPARISON_GROUPS, arguments))


def grouped(groups, arguments):
    """Move each argument that is a field of an option class into an object of that class."""
    left, options = {"progress": False} | arguments, {}
    for group, kind in groups.items():
        names = [field.name for field in fields(kind) if field.name in left]
        options[group] = kind(**{name: left.pop(name) for name in names})
    return left | options
