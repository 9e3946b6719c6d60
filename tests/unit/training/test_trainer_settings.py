"""Settings that cannot be combined are refused by name."""

from types import SimpleNamespace

import pytest

from preflens.errors import InputError
from preflens.objectives.schedule import schedule
from preflens.training.trainer_settings import check_settings
from tests.support.stub_trainer import StubTrainer


def check(*, objective=None, geometry_every=None, replace_head=None, weighting=False, **changes):
    args = {"loss_weights": None, "label_smoothing": 0.0, "ld_alpha": None} | {
        name: changes.pop(name) for name in ("loss_weights", "label_smoothing", "ld_alpha") if name in changes
    }
    defaults = {"loss_types": ["sigmoid"], "f_divergence_type": "reverse_kl", "aux_loss_enabled": False}
    trainer = StubTrainer(
        objective=None if objective is None else schedule(objective), args=SimpleNamespace(**args),
        use_weighting=weighting, **(defaults | changes),
    )  # fmt: skip
    return check_settings(trainer, None, geometry_every=geometry_every, replace_head=replace_head)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"geometry_every": 1}, "need an `objective`"),
        ({"replace_head": True}, "need an `objective`"),
        ({"objective": "dpo", "ld_alpha": 0.5}, "`ld_alpha`"),
        ({"objective": "dpo", "label_smoothing": 0.1}, "`label_smoothing`"),
        ({"objective": "dpo", "loss_weights": [1.0]}, "`loss_weights`"),
        ({"objective": "dpo", "f_divergence_type": "js"}, "`f_divergence_type`"),
        ({"objective": "dpo@wpo"}, "need each other"),
        ({"objective": "dpo", "weighting": True}, "need each other"),
        ({"objective": "dpo", "loss_types": ["ipo"]}, "not both"),
        ({"objective": "dpo", "geometry_every": 1, "replace_head": False}, "needs `replace_head`"),
        ({"objective": "dpo", "geometry_every": 1, "aux_loss_enabled": True}, "log-probs alone"),
    ],
    ids=str,
)
def test_what_cannot_be_combined_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        check(**changes)


@pytest.mark.parametrize(
    ("changes", "replaces"),
    [
        ({}, False),
        ({"objective": "dpo"}, True),  # on a CPU
        ({"objective": "dpo", "replace_head": False}, False),
        ({"objective": "dpo@wpo", "weighting": True}, False),  # needs the confidence that TRL's head returns
    ],
    ids=str,
)
def test_the_head_is_replaced_where_that_is_cheaper_and_possible(changes, replaces):
    assert check(**changes) is replaces
