"""Interrupted analyses."""

import pytest

import preflens.analysis.analyze as module
from tests.cases.interrupted import Interrupter, run


@pytest.fixture
def counter(monkeypatch):
    """Counts the update batches that are measured, and interrupts at the third."""
    interrupter = Interrupter()
    monkeypatch.setattr(module, "batch_geometry", interrupter)
    return interrupter


@pytest.fixture
def interrupted(counter, tmp_path):
    """An output folder with two of three update batches done, and a counter of those measured from then on."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", name="tiny", command="preflens analyze the first time")
    counter.measured, counter.lets_through = 0, 100
    return tmp_path / "out", counter
