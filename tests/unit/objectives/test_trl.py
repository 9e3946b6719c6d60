"""TRL's settings by their names; equality with its numbers is in the laws."""

import pytest

from preflens.errors import ObjectiveError
from preflens.objectives.trl import TRL_LOSS_TYPES, TrlSettings, trl_objective


def test_settings_reach_the_losses_that_read_them():
    assert trl_objective("robust", label_smoothing=0.2).parameters == {"beta": 0.1, "eps": 0.2}
    assert trl_objective("ipo", beta=0.3).parameters == {"tau": 0.3}
    assert trl_objective("discopop", discopop_tau=0.1).parameters == {"beta": 0.1, "tau": 0.1}
    assert TRL_LOSS_TYPES["sigmoid_norm"](TrlSettings(beta=5.0)).parameters == {"beta": 5.0}


def test_modifiers_are_applied_to_every_loss_but_sft():
    mixed = trl_objective(["sigmoid", "sft"], ld_alpha=0.3, f_divergence_type="js_divergence")
    assert [term.name for _, term in mixed.terms] == ["dpo@ld@js_divergence", "sft"]
    assert trl_objective("sigmoid", use_weighting=True).name == "dpo@wpo"


def test_one_loss_of_weight_one_is_no_sum_and_near_matches_are_offered():
    assert trl_objective(["sigmoid"]).name == "dpo"
    with pytest.raises(ObjectiveError, match="no loss type `sigmoid_nrm`. Did you mean `sigmoid_norm`"):
        trl_objective("sigmoid_nrm")
