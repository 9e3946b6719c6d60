"""Intervals of means over two samples: right in known cases, and wide enough over many draws."""

import numpy as np
import pytest
from scipy.stats import t as student

from preflens.analysis.summaries.two_way import crossed, means, ratios_of_means


def each(count):
    return np.arange(count)


def test_with_nothing_between_held_out_members_it_is_the_interval_of_one_sample():
    training = np.array([0.1, 0.5, -0.2, 0.9, 0.4])
    values = np.repeat(training[:, None], 40, axis=1)[None]
    (found,) = means(crossed(values, each(5), each(40)))
    reach = student.ppf(0.975, 4) * training.std(ddof=1) / np.sqrt(5)
    assert (found.value, found.low, found.high) == pytest.approx((
        training.mean(),
        training.mean() - reach,
        training.mean() + reach,
    ))


def test_variances_of_both_sides_are_added():
    one, other = np.array([0.1, 0.5, -0.2, 0.9]), np.array([0.3, -0.4, 0.2, 0.0])
    (found,) = means(crossed((one[:, None] + other)[None], each(4), each(4)))
    variance = one.var(ddof=1) / 4 + other.var(ddof=1) / 4
    assert found.high - found.value == pytest.approx(student.ppf(0.975, 3) * np.sqrt(variance))


def test_members_of_one_unit_count_as_one():
    values = np.random.default_rng(0).normal(size=(3, 6, 6))
    twice = values.repeat(2, axis=1).repeat(3, axis=2)
    for one, other in zip(
        means(crossed(values, each(6), each(6))),
        means(crossed(twice, each(6).repeat(2), each(6).repeat(3))),
        strict=True,
    ):
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_a_ratio_of_proportional_means_has_no_width():
    below = np.random.default_rng(1).normal(1, 0.3, size=(1, 5, 7))
    (found,) = ratios_of_means(crossed(2 * below, each(5), each(7)), crossed(below, each(5), each(7)))
    assert (found.value, found.low, found.high) == pytest.approx((2, 2, 2))


def test_a_single_unit_has_no_interval_and_no_ratio_to_zero():
    values = np.random.default_rng(2).normal(size=(1, 1, 6))
    (found,) = means(crossed(values, each(1), each(6)))
    assert found.low is None
    assert found.value == pytest.approx(values.mean())
    zero = crossed(np.zeros((1, 3, 3)), each(3), each(3))
    assert ratios_of_means(zero, zero)[0].value is None


@pytest.mark.parametrize(("training", "held_out"), [(4, 20), (12, 5), (24, 24)])
@pytest.mark.parametrize("interaction", [0.0, 1.0])
def test_intervals_cover_the_truth(training, held_out, interaction):
    """Of 2,000 draws from a two-way model with mean 0, between 93.5 and 99.5 % of the 95 % intervals hold 0."""
    rng = np.random.default_rng(3)
    draws = 2000
    values = (
        rng.normal(size=(draws, training, 1)) + rng.normal(size=(draws, 1, held_out))
        + interaction * rng.normal(size=(draws, training, held_out))
    )  # fmt: skip
    found = means(crossed(values, each(training), each(held_out)))
    covered = np.mean([e.low <= 0 <= e.high for e in found])
    assert 0.935 <= covered <= 0.995
