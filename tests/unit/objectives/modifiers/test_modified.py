"""Objectives with a modifier: what does not go together, and names."""

import pytest

from preflens import OBJECTIVES, parse_objective
from preflens.errors import ObjectiveError
from preflens.objectives import MODIFIERS
from preflens.objectives.modifiers.modified import ModifiedObjective, modified


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nca@forward_kl", "`forward_kl` does not go with objective `nca`: it is defined for losses of a difference"),
        ("simpo@js_divergence", "does not go with objective `simpo`"),
        ("aot@wpo", "sorts the batch"),
        ("slime@ld", "it weights tokens itself"),
        ("dpo@ld@ld", "`ld` was given twice"),
        ("dpo@ld:alpha=2", r"`alpha` of objective `ld` should be in \[0, 1\]"),
    ],
)
def test_what_does_not_go_together_is_refused(text, reason):
    with pytest.raises(ObjectiveError, match=reason):
        parse_objective(text)


@pytest.mark.parametrize("name", MODIFIERS)
def test_every_modifier_has_a_paper_and_says_what_it_does(name):
    modifier = MODIFIERS[name]()
    assert modifier.name == name
    assert modifier.source.arxiv in MODIFIERS[name].__doc__
    assert modified(OBJECTIVES["dpo"](), modifier).name == f"dpo@{name}"


def test_parameters_of_objective_and_modifier_are_told_apart_by_the_modifiers_name():
    objective = parse_objective("simpo@ld:alpha=0.3@wpo")
    assert isinstance(objective, ModifiedObjective)
    assert objective.parameters == {"beta": 2.0, "gamma": 1.0, "ld.alpha": 0.3}
    assert (objective.name, objective.kind, objective.source.arxiv) == ("simpo@ld@wpo", "token", "2406.11827")
