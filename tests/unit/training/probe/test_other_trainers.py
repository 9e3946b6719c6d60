"""Losses of TRL's other trainers as objectives; that they are the same losses is a law."""

import pytest

from preflens.training.probe.other_trainers import equivalent_objective


def trainer(kind, **attributes):
    return type(kind, (), attributes)()


@pytest.mark.parametrize(
    ("kind", "attributes", "text"),
    [
        ("ORPOTrainer", {"beta": 0.2}, "orpo:lam=0.2"),
        ("CPOTrainer", {"beta": 0.1, "loss_type": "sigmoid", "cpo_alpha": 1.0}, "cpo:beta=0.1,lam=0+1*sft"),
        ("CPOTrainer", {"beta": 2.0, "loss_type": "simpo", "simpo_gamma": 0.5}, "simpo:beta=2,gamma=0.5"),
        ("CPOTrainer", {"beta": 2.0, "loss_type": "simpo", "alpha": 0.3}, "alphapo:beta=2,gamma=0,alpha=0.3"),
        ("CPOTrainer", {"loss_type": "hinge"}, None),
        ("CPOTrainer", {"loss_type": "sigmoid", "label_smoothing": 0.1}, None),
        ("SFTTrainer", {}, None),
    ],
)
def test_a_trainer_with_an_equivalent_objective_gets_its_text(kind, attributes, text):
    assert equivalent_objective(trainer(kind, **attributes)) == text
