"""Runs that are interrupted, and what they leave."""

from dataclasses import replace

import preflens.analysis.analyze as module
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS
from tests.support.options import flat_analyze


def run(out=None, *, model=None, tokenizer=None, rows=TEXT_ROWS, **arguments):
    """An analysis on the tiny model, in three update batches."""
    arguments = {"update_batch_size": 2} | arguments
    return flat_analyze(model or tiny_model(), tokenizer or tiny_tokenizer(), rows, out=out, **arguments)


def assert_same(one, other):
    """The same to the last bit, but for date, command and clock."""
    assert one.pairs.equals(other.pairs)
    assert one.objectives.equals(other.objectives)
    assert timeless(one.metadata) == timeless(other.metadata)


def timeless(metadata):
    return replace(metadata, created="", command=None, seconds={})


def parts(out):
    """Names of the finished batches in an output folder."""
    return sorted(path.name for path in (out / ".unfinished").iterdir() if path.suffix == ".npz")


class Interrupter:
    """Stands for `batch_geometry`: counts, and interrupts when as many batches are measured as it lets through."""

    def __init__(self):
        self.real, self.measured, self.lets_through = module.batch_geometry, 0, 2

    def __call__(self, passes, **arguments):
        if self.measured == self.lets_through:
            raise KeyboardInterrupt
        self.measured += 1
        return self.real(passes, **arguments)
