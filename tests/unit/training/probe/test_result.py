"""Results of a probed step: completed, cut, merged."""

from dataclasses import replace

import pytest
import torch

from preflens.language_models.pairs import PreferencePair
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.result import ProbeResult, change_of, join_passes, merge_results
from preflens.types import LogpChange, PairCoefficients, PairGram


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def pair(name, chosen=4, rejected=9):
    return TokenizedPair(PreferencePair(name, "", "", ""), (1,), (2,) * chosen, (3,) * rejected)


def result(*names, inner=0.5):
    n = len(names)
    gram = PairGram(torch.ones(n).double(), torch.ones(n).double(), torch.full((n,), inner).double())
    change = LogpChange(torch.zeros(n).double(), torch.zeros(n).double())
    logps = torch.arange(n).double()
    coefficients = PairCoefficients(torch.ones(n).double(), torch.ones(n).double())
    return ProbeResult(
        pairs=tuple(map(pair, names)),
        chosen_logp=-logps,
        rejected_logp=-logps - 1,
        gram=gram,
        coefficients=coefficients,
        plain=change,
        optimizer=None,
    )


def test_the_measured_change_is_after_minus_before_and_curvature_is_what_attribution_misses():
    complete = result("a").with_measured(vector(0.5), vector(-3.0), LogpChange(vector(0.4), vector(-1.5)))
    assert (complete.measured.chosen.item(), complete.measured.rejected.item()) == (0.5, -2.0)
    assert complete.curvature.chosen.item() == pytest.approx(0.1)
    assert complete.curvature.rejected.item() == pytest.approx(-0.5)
    assert result("a").curvature is None


def test_the_floor_is_three_standard_deviations_and_grows_with_the_root_of_tokens():
    floored = result("a").with_floor(0.1)
    assert floored.floor.chosen.item() == pytest.approx(3 * 0.1 * 2)
    assert floored.floor.rejected.item() == pytest.approx(3 * 0.1 * 3)
    assert result("a").with_floor(None).mean_floor("chosen") == 0.0


def test_rounding_of_a_mean_is_that_of_its_pairs_added_up_in_squares():
    floor = LogpChange(vector(0.3, 0.4), vector(0.6, 0.8))
    two = replace(result("a", "b"), floor=floor)
    assert two.mean_floor("chosen") == pytest.approx(0.5 / 2)
    assert two.mean_floor("rejected") == pytest.approx(1.0 / 2)


def test_a_mean_within_its_floor_is_not_significant():
    two = result("a", "b").with_measured(vector(0.5, -0.5), vector(-1.0, -2.0), None).with_floor(0.1)
    assert two.mean_floor("chosen") == pytest.approx(0.6 * 2**0.5 / 2)
    assert two.is_significant("chosen") is (abs(0.5) > two.mean_floor("chosen"))
    assert not two.with_floor(10.0).is_significant("chosen")


@pytest.mark.parametrize(("inner", "outcome"), [(0.5, "intended"), (-0.5, "intended")])
def test_outcomes_are_those_of_each_pairs_own_step(inner, outcome):
    assert [str(o) for o in result("a", inner=inner).outcomes()] == [outcome]  # |ρ| < 1 and d_w = d_l


def test_parts_merge_to_the_whole():
    whole = result("a", "b", "c")
    merged = merge_results([whole.part(slice(0, 1)), whole.part(slice(1, None))])
    assert [p.pair.id for p in merged.pairs] == ["a", "b", "c"]
    assert torch.equal(merged.chosen_logp, whole.chosen_logp)
    assert torch.equal(merged.gram.inner_product, whole.gram.inner_product)
    assert merged.optimizer is None


def test_passes_are_joined_with_all_chosen_responses_first():
    joined = join_passes([vector(1, 2, -1, -2), vector(3, -3)])
    assert joined.tolist() == [1, 2, 3, -1, -2, -3]
    assert change_of(joined).rejected.tolist() == [-1, -2, -3]
