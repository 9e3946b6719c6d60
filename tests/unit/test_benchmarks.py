"""What several processes of a benchmark found is put together."""

import pytest

from benchmarks.shared.clock import merged


def test_medians_come_with_the_least_and_the_most_of_all_processes():
    runs = [[{"model": "a", "pairs": 4, "ratio": r}, {"model": "b", "pairs": 4, "ratio": 1.0}] for r in (0.7, 0.5, 0.6)]
    first, other = merged(runs)
    assert first == {
        "model": "a", "pairs": 4, "ratio": 0.6, "ratio, least": 0.5, "ratio, most": 0.7, "processes": 3
    }  # fmt: skip
    assert (other["ratio"], other["ratio, least"], other["ratio, most"]) == (1.0, 1.0, 1.0)


def test_lines_about_other_things_are_refused():
    with pytest.raises(ValueError, match="agree in everything that is not a float. Found `model`"):
        merged([[{"model": "a", "ratio": 1.0}], [{"model": "b", "ratio": 1.0}]])
    with pytest.raises(ValueError, match="zip"):
        merged([[{"model": "a"}], []])
