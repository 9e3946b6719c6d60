"""What the catalogue says of its entries."""

import re

import pytest

from preflens import OBJECTIVES, parse_objective
from preflens.objectives import MODIFIERS
from preflens.objectives.describe import describe, describe_modifier, sources_of

every_objective = pytest.mark.parametrize("name", OBJECTIVES)


@every_objective
def test_every_objective_says_formula_coefficients_domain_use_and_paper(name):
    about = describe(name)
    assert about.formula.startswith("ℓ = ")
    assert "d_w" in about.coefficients
    assert about.domain.endswith(".")
    assert len(about.helps) > 30
    assert about.source.link in " ".join(OBJECTIVES[name].__doc__.split())
    assert all(len(text) > 10 for text in about.parameters.values())
    assert len(about.parameters) == len(OBJECTIVES[name]().parameters)


@every_objective
def test_what_is_not_confirmed_is_said_in_the_docstring_too(name):
    unverified = OBJECTIVES[name]().source.unverified
    text = " ".join(OBJECTIVES[name].__doc__.split())
    assert ("Not confirmed: " in text) == bool(unverified)
    assert unverified[1:].rstrip(".") in text


@every_objective
def test_bibtex_has_the_fields_a_bibliography_needs(name):
    entry = OBJECTIVES[name]().source.bibtex
    assert re.match(r"@misc\{[a-zα-ω0-9'χ²β-]+,\n", entry)
    assert entry.count("{") == entry.count("}")
    assert all(f"  {field} = {{" in entry for field in ("title", "author", "year"))


def test_papers_of_modified_objectives_and_sums_are_all_named():
    numbers = [s.arxiv for s in sources_of(parse_objective("0.7*dpo@wpo+0.3*dpo@ld"))]
    assert numbers == ["2305.18290", "2406.11827", "2409.06411"]


@pytest.mark.parametrize("name", MODIFIERS)
def test_modifiers_are_described(name):
    assert len(describe_modifier(name)) > 80
    assert "Args:" not in describe_modifier(name)
