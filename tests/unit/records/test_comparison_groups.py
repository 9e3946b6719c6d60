"""Groups of objectives, and the points of their trajectories."""

from dataclasses import replace

from preflens.records.comparison_groups import groups, last_point, rescaled
from tests.cases.comparisons import typical, without_gain


def test_every_objective_is_in_one_group_and_multiples_share_one():
    metadata = typical().metadata
    labels = [label for group in groups(metadata) for label in group.labels]
    assert sorted(labels) == sorted(o.label for o in metadata.objectives)
    for group in groups(metadata):
        assert all(o.same_direction_as == group.members[0].label for o in group.members[1:])


def test_groups_without_a_clear_margin_come_last():
    first, last = groups(without_gain().metadata)
    assert first.chosen.value is not None
    assert last.chosen.value is None


def test_the_last_point_is_missing_where_a_rollout_ends_early():
    path = rescaled(typical().metadata.objectives[0])
    assert path.scale == "equal margin"
    assert last_point(path) == (path.heldout_chosen[-1], path.heldout_rejected[-1])
    assert last_point(replace(path, heldout_chosen=(*path.heldout_chosen[:-1], None))) is None
    assert last_point(None) is None
    assert rescaled(without_gain().metadata.objectives[1]) is None
