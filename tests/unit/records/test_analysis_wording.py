"""Numbers and verdicts in words."""

from dataclasses import replace
from itertools import product

import pytest

from preflens.records.analysis_wording import (
    _HEADLINES,
    batches,
    direction,
    plain,
    share,
    signed,
    verdicts,
    with_interval,
)
from preflens.records.common import Estimate
from tests.cases.analyses import one_pair, typical


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5891, "+0.589"), (-1.2345e-5, "−1.23e-05"), (0.0, "+0"), (None, "n/a"), (1234.5, "+1.23e+03")],
)
def test_signed_numbers(value, text):
    assert signed(value) == text
    assert plain(value) == text.removeprefix("+")


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ((12, 12), "2 update batches of 12 pairs"),
        ((4, 3, 3), "3 update batches of 4 and 3 pairs"),
        ((5,), "1 update batch of 5 pairs"),
        ((1, 1), "2 update batches of 1 pair"),
    ],
)
def test_update_batches_are_told_with_their_real_sizes(sizes, text):
    assert batches(sizes) == text


def test_intervals_and_shares():
    assert with_interval(Estimate(1.0, 0.5, 1.5)) == "+1 [+0.5, +1.5]"
    assert with_interval(Estimate(1.0)) == "+1"
    assert share(Estimate(0.687)) == "69 %"
    assert share(Estimate(None)) == "n/a"


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(1.0, 0.1, 2.0), "rises"),
        (Estimate(-1.0, -2.0, -0.1), "falls"),
        (Estimate(1.0, -0.1, 2.0), "unclear"),
        (Estimate(1.0), "rises"),
        (Estimate(-1.0), "falls"),
        (Estimate(0.0), "unclear"),
        (Estimate(None), "unclear"),
    ],
)
def test_a_side_moves_only_where_its_interval_excludes_zero(estimate, expected):
    assert direction(estimate) == expected


def test_every_combination_of_directions_has_a_headline():
    words = ("rises", "falls", "unclear")
    assert set(_HEADLINES) == set(product(words, words))


def facts_with(**changes):
    metadata = typical().metadata
    return replace(metadata, objectives=(replace(metadata.objectives[0], **changes),))


def test_a_verdict_speaks_per_nat_of_margin_and_per_step():
    up, down = Estimate(0.5, 0.4, 0.6), Estimate(-0.5, -0.6, -0.4)
    (found,) = verdicts(
        facts_with(chosen_change=down, rejected_change=down, chosen_per_margin=up, rejected_per_margin=down)
    )
    assert found.direction == "falls"
    assert found.headline.startswith("No: both fall.")
    assert "Per nat of margin gained" in found.detail[0]
    assert "+0.5 [+0.4, +0.6]" in found.detail[0]
    assert "at learning rate 1e-06" in found.detail[1]


def test_a_margin_that_does_not_widen_is_said_so():
    (found,) = verdicts(facts_with(chosen_per_margin=Estimate(None)))
    assert "does not clearly widen" in found.detail[0]


def test_objectives_with_the_same_direction_share_a_verdict():
    metadata = typical().metadata
    twin = replace(metadata.objectives[0], label="ipo", same_direction_as=metadata.objectives[0].label)
    found = verdicts(replace(metadata, objectives=(*metadata.objectives, twin)))
    assert found[0].labels == ("dpo", "ipo")
    assert len(found) == len(metadata.objectives)
    assert any("differ in length only" in s for s in found[0].detail)


def test_a_single_update_batch_is_said_to_have_no_interval():
    assert any("no interval" in sentence for sentence in verdicts(one_pair().metadata)[0].detail)
