"""What a modifier does where it says nothing else."""

import torch

from preflens.objectives import Citation, dpo
from preflens.objectives.modifiers.base import Modifier
from tests.cases.logps import drawn_logps


def test_a_modifier_without_settings_changes_nothing_and_refuses_nothing():
    modifier, logps = Modifier("none", Citation("t", "a", 2026, "", "")), drawn_logps()
    assert modifier.change(logps) is logps
    assert torch.equal(modifier.weight(logps), torch.ones(32, dtype=torch.float64))
    assert modifier.refusal(dpo()) == ""
