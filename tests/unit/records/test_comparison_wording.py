"""The verdict of a comparison says what its numbers say."""

from dataclasses import replace

import pytest

from preflens.cli.terminal.comparison import print_comparison
from preflens.records.common import Estimate
from preflens.records.comparison_groups import groups
from preflens.records.comparison_metadata import MeanChange
from preflens.records.comparison_wording import comparison_verdict
from preflens.report.render import report_html
from tests.cases.comparisons import COMPARISONS, typical, unclear, without_gain


def with_changes(*chosen):
    """The typical comparison with other held-out changes: (value, low, high) for each objective, no two alike."""
    metadata = typical().metadata
    objectives = tuple(
        replace(o, heldout=MeanChange(Estimate(*c), o.heldout.rejected, o.heldout.difference), margin_scale=2.0,
                chosen_per_margin=Estimate(*(2 * value for value in c)), same_direction_as=None)
        for o, c in zip(metadata.objectives, chosen, strict=False)
    )  # fmt: skip
    return replace(metadata, objectives=objectives)


UP, FLAT, DOWN = (0.2, 0.1, 0.3), (0.01, -0.1, 0.1), (-0.2, -0.3, -0.1)


def test_the_verdict_names_the_objectives_that_raise_and_lower_the_chosen_log_probs():
    found = comparison_verdict(with_changes(UP, FLAT, DOWN))
    assert found.headline == (
        "Of 3 different directions of the first step, 1 raises the held-out chosen log-probs, 1 lowers them, 1 has no "
        "significant effect."
    )
    assert dict(found.parts) == {
        "rises": "dpo (+0.4) raise the chosen log-probs.",
        "unclear": "dpo:beta=0.5 (+0.02): no significant change of the chosen log-probs.",
        "falls": "dpo:beta=1 (−0.4) lower the chosen log-probs.",
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((UP, UP), "the first step of every objective raises the held-out chosen log-probs"),
        ((DOWN, DOWN), "the first step of every objective lowers"),
        ((FLAT, FLAT), "no first step changes the held-out chosen log-probs significantly"),
        ((FLAT, DOWN), "1 lowers the held-out chosen log-probs, 1 has no significant effect"),
        ((FLAT, FLAT, UP), "1 raises the held-out chosen log-probs, 2 have no significant effect"),
    ],
)
def test_the_headline_when_all_agree(changes, words):
    assert words in comparison_verdict(with_changes(*changes)).headline


def test_objectives_of_one_direction_are_one_group_and_the_best_comes_first():
    found = groups(typical().metadata)
    assert ("dpo", "dpo:beta=0.5", "dpo:beta=1", "ipo") in [g.labels for g in found]
    values = [g.chosen.value for g in found if g.chosen.value is not None]
    assert values == sorted(values, reverse=True)


def test_why_there_is_no_value_per_nat_of_margin_is_said():
    text = " ".join(comparison_verdict(without_gain().metadata).detail)
    assert "No value per nat of margin, and no rescaled rollout: it shrinks with shrinking." in text
    found = comparison_verdict(unclear().metadata)
    text = " ".join(found.detail)
    assert "No value per nat of margin, and no rescaled rollout: its interval includes zero with dpo, cpo." in text
    assert all("cpo (" not in sentence and "dpo (" not in sentence for _, sentence in found.parts)


def test_margin_is_said_to_be_one_thing_and_once():
    for make in COMPARISONS.values():
        text = " ".join(comparison_verdict(make().metadata).detail)
        assert text.count("Margin: the mean over held-out pairs of the change of the chosen log-prob minus") == 1
        assert "training margin" not in text


def with_rollouts(*ends):
    """The typical comparison, its rollouts at equal margin ending like this: (chosen, broke off, impossible from)."""
    metadata = typical().metadata
    objectives = []
    for o, (chosen, broke_off, impossible_from) in zip(metadata.objectives, ends, strict=False):
        path = next(t for t in o.trajectories if t.scale == "equal margin")
        curve = (*path.heldout_chosen[:-1], chosen)
        path = replace(path, heldout_chosen=curve, broke_off=broke_off, impossible_from=impossible_from)
        objectives.append(replace(o, trajectories=(path,)))
    return replace(metadata, objectives=tuple(objectives))


def test_the_range_of_a_rollout_is_of_those_that_reach_its_end_and_the_others_are_named():
    text = " ".join(
        comparison_verdict(
            with_rollouts((0.5, None, None), (-0.2, None, None), (None, 3, None), (None, None, 2))
        ).detail
    )
    assert "the held-out mean chosen log-prob changes by +0.5 (dpo) to −0.2 nats (dpo:beta=0.5)" in text
    assert "so that the margin would gain 0.2 nats at the pace of the first step" in text
    assert "ends where log-probs diverge, because steps are too large: dpo:beta=1 (step 3)." in text
    assert "ends before a log-prob would be above zero, which is impossible: ipo (step 2)." in text


def test_terminal_and_page_say_where_a_rollout_ends_too_early(capsys):
    metadata = with_rollouts((0.5, None, None), (-0.2, None, None), (None, 3, None), (None, None, 2))
    found = replace(typical(), metadata=metadata)
    print_comparison(found)
    told = capsys.readouterr().out
    assert all(words in told for words in ("+0.5", "−0.2", "ends 2", "ends 1"))
    page = report_html(found)
    assert "ends before step 3: log-probs diverge" in page
    assert "ends before step 2: a log-prob would be above zero" in page
    assert page.count("Margin: the mean over held-out pairs") == 1


def test_what_is_left_out_is_said():
    metadata = replace(typical().metadata, left_out={"kto": "couples the pairs"})
    assert "Left out: kto (couples the pairs)." in " ".join(comparison_verdict(metadata).detail)


def test_real_steps_are_part_of_the_verdict():
    text = " ".join(comparison_verdict(typical().metadata).detail)
    assert "for forecasts of small steps on held-out pairs, R² is" in text
    assert "The rollout stays within 10 % of the real steps to the end (4 steps)" in text


@pytest.mark.parametrize(
    ("error", "good", "words"),
    [
        ((None, None, 0.01), 4, "stays within 10 % of the real steps to the end (4 steps)"),
        ((None, 0.05, 0.2), 2, "stays within 10 % of the real steps for 2 of 4 steps or more (worst: dpo)"),
        ((None, 0.3, 0.4), 0, "of dpo is off by more than 10 % as soon as its changes exceed rounding"),
        ((None, None, None), None, "too small to tell from rounding"),
    ],
)
def test_agreement_is_told_of_what_moves_more_than_rounding_does(error, good, words):
    metadata = typical().metadata
    real = metadata.real_steps[0]
    check = replace(real.rollouts[-1], steps=(1, 2, 4), error=error, within_ten_percent=good, scale="equal margin")
    found = replace(metadata, real_steps=(replace(real, rollouts=(check,)),))
    assert words in " ".join(comparison_verdict(found).detail)


def test_values_for_each_nat_of_margin_that_are_missing_stay_missing():
    first, shrinking = without_gain().metadata.objectives
    assert shrinking.per_margin(1.0) is None
    assert first.per_margin(None) is None
    assert first.per_margin(first.margin.value) == pytest.approx(1.0)
