"""Every mutant of the list still applies; whether tests notice it is for `make mutants`."""

import pytest

from tests.mutants.__main__ import ROOT, read_mutants


@pytest.mark.parametrize("mutant", read_mutants(), ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_place_and_its_tests_are_there(mutant):
    changed = mutant.applied()
    assert mutant.new in changed
    for test in mutant.tests:
        path, _, name = test.partition("::")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not name or f"def {name.partition('[')[0].rpartition('::')[2]}(" in text or "doctest" in test
