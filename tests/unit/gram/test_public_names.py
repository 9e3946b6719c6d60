"""What `preflens.gram` and `preflens.types` offer."""

import inspect

import preflens.gram
import preflens.types

WITHOUT_DOCSTRING = {"LAYER_RULES", "LayerRule"}  # a table and the type of its entries


def test_every_public_name_has_an_example_that_runs():
    public = {name: getattr(preflens.gram, name) for name in preflens.gram.__all__}
    public |= {name: value for name, value in vars(preflens.types).items()
               if inspect.isclass(value) and value.__module__ == "preflens.types"}  # fmt: skip
    assert len(public) >= 22
    assert {name for name, value in public.items() if ">>> " not in (value.__doc__ or "")} == WITHOUT_DOCSTRING


def test_rules_of_users_can_be_written_with_public_names_alone():
    needed = {
        "ModuleCall",
        "RuleContext",
        "LayerGradients",
        "OuterProductSum",
        "EmbeddingRows",
        "Materialized",
        "OnDemand",
    }
    assert needed <= set(preflens.gram.__all__)
