"""The panel of the rollouts."""

from dataclasses import replace

from preflens.records.comparison_metadata import LEARNING_RATE
from preflens.report.panels.rollouts import rollouts
from preflens.report.render import report_html
from tests.cases.records import comparison, objective
from tests.support.pages import section_of, table_of, text_of, traces_of


def test_a_curve_is_the_held_out_chosen_against_the_held_out_rejected_mean():
    (curve,) = traces_of(rollouts(comparison()).values["plot"], "rollouts")
    assert (curve["x"], curve["y"]) == ([-0.3, -1.5], [-0.1, -0.9])


def test_a_curve_ends_where_its_rollout_ends_and_the_table_says_why():
    (path,) = objective().trajectories
    ended = replace(path, heldout_chosen=(-0.1, None), heldout_rejected=(-0.3, None), impossible_from=5)
    record = comparison(objectives=(objective(trajectories=(ended,)),))
    assert traces_of(rollouts(record).values["plot"], "rollouts")[0]["x"] == [-0.3]
    assert table_of(section_of(report_html(record), "rollouts"))[1] == [
        "dpo", "0.25", "−0.1", "−0.3", "n/a", "n/a", "ends before step 5: a log-prob would be above zero",
    ]  # fmt: skip


def test_ends_of_a_grid_are_joined_in_the_order_of_the_parameter():
    (path,) = objective().trajectories
    paths = {b: replace(path, heldout_rejected=(0.0, -b)) for b in (0.5, 0.1, 2.0)}
    points = [objective(f"dpo:beta={b}", parameters={"beta": b}, trajectories=(p,)) for b, p in paths.items()]
    *_, joined = traces_of(rollouts(comparison(objectives=tuple(points))).values["plot"], "rollouts")
    assert joined["x"] == [-0.1, -0.5, -2.0]


def test_ends_far_beyond_the_others_are_named_and_left_outside_of_the_plotted_range():
    (path,) = objective().trajectories
    far = objective("slic", trajectories=(replace(path, heldout_chosen=(-0.1, -900.0)),))
    others = tuple(objective(name) for name in ("dpo", "ipo"))
    assert rollouts(comparison(objectives=(*others, far))).values["outside"] == ["slic"]
    assert rollouts(comparison(objectives=others)).values["outside"] == []


def test_the_followed_training_pairs_are_those_of_the_first_update_batches():
    assert rollouts(comparison()).values["stepping"] == "1 update batch of 2 pairs"


def test_without_a_rollout_at_equal_margin_the_one_at_the_learning_rate_is_shown_first():
    (path,) = objective().trajectories
    record = comparison(objectives=(objective(trajectories=(replace(path, scale=LEARNING_RATE),)),))
    plot = rollouts(record).values["plot"]
    assert [curve["visible"] for curve in traces_of(plot, "rollouts")] == [True]
    assert '"active":1' in plot
    assert '"active":0' in rollouts(comparison()).values["plot"]


def test_without_any_rollout_a_sentence_stands_in_place_of_the_plot():
    record = comparison(objectives=(objective(trajectories=()),))
    assert rollouts(record).values["plot"] is None
    assert "No rollout" in section_of(report_html(record), "rollouts")


def test_the_gain_is_one_nat_or_several_nats():
    for gain, words in ((1.0, "would gain 1 nat by"), (2.0, "would gain 2 nats by")):
        arguments = comparison().metadata.arguments | {"margin_gain": gain}
        assert words in text_of(section_of(report_html(comparison(arguments=arguments)), "rollouts"))
