"""Every mitigation has a strategy, and every strategy the same interface."""

from types import SimpleNamespace

import pytest

from preflens.mitigations import MITIGATIONS
from preflens.training.mitigation.controller import STRATEGIES, MitigationController
from preflens.training.mitigation.strategy import Strategy, StrategyContext
from tests.support.stub_trainer import StubTrainer

KINDS = {"normalized": "OnePassReweighting", "sparse_mask": "TokenMasking", "splitting": "SplitUpdates"}


def trainer():
    return StubTrainer(args=SimpleNamespace(seed=0, gradient_accumulation_steps=1))


def context(made):
    return StrategyContext(trainer=made, whole_update=False, constraints=None)


@pytest.mark.parametrize("name", MITIGATIONS)
def test_every_mitigation_has_a_strategy_with_the_interface(name):
    mitigation = MITIGATIONS[name]()
    strategy = STRATEGIES[type(mitigation)](mitigation, context(trainer()))
    assert isinstance(strategy, Strategy)
    assert type(strategy).__name__ == KINDS.get(name, "OnePassReweighting")
    assert strategy.capture is None
    assert strategy.repeats is False


def test_several_processes_take_two_passes_after_a_warning(caplog):
    several = trainer()
    several.accelerator.num_processes = 2
    mitigation = MITIGATIONS["normalized"]()
    strategy = STRATEGIES[type(mitigation)](mitigation, context(several))
    assert type(strategy).__name__ == "TwoPassReweighting"
    assert "several processes train together" in caplog.text


def test_strength_zero_and_no_mitigation_have_no_controller():
    for mitigation in (None, "normalized:strength=0"):
        assert MitigationController.of(trainer(), mitigation, whole_update=None, constraints=None) is None
