"""The measured effect of a mitigated step."""

from types import SimpleNamespace

import pytest
import torch

from preflens.training.mitigation.effect import EffectLogger
from tests.support.stub_trainer import StubTrainer


def test_shares_of_responses_that_moved_as_intended_are_logged():
    after = torch.tensor([-1.0, -3.0, -1.0, -5.0])
    trainer = StubTrainer(logps_of=lambda _: after)
    effect = EffectLogger(trainer)
    effect.note({}, torch.tensor([-2.0, -2.0, -2.0, -2.0]))  # chosen: rose, fell; rejected: rose, fell
    effect.on_step_end()
    effect.on_step_end()  # nothing was noted for this step
    assert trainer.logged() == {"mitigation/chosen_rose": [0.5], "mitigation/rejected_fell": [0.5]}


@pytest.mark.parametrize(("step", "every", "is_due"), [(0, 1, True), (3, 5, False), (4, 5, True), (4, 0, False)])
def test_steps_that_are_logged_are_measured(step, every, is_due):
    trainer = StubTrainer(state=SimpleNamespace(global_step=step, logging_steps=every))
    assert EffectLogger(trainer).is_due is is_due
