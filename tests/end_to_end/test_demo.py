"""The demo tells what it saw, and what it saw adds up."""

import json
from dataclasses import replace

import pytest

from preflens import Analysis
from preflens.cli.terminal.demo import print_demo_summary
from preflens.demo.run import Setup, run_demo, save_demo
from preflens.demo.synthetic_reviews import SUFFIXES
from preflens.demo.tiny_model import make_tokenizer, tokenize
from preflens.demo.tuning import Tuning

SMOKE = Setup(seeds=1, pretraining_steps=20, sft_steps=3, dpo_steps=3, held_out=6)


@pytest.fixture(scope="module")
def runs():
    return run_demo(SMOKE)


def test_responses_differ_in_one_token_and_share_the_suffix():
    from random import Random

    from preflens.demo.synthetic_reviews import reviews

    lengths = []
    for suffix in SUFFIXES.values():
        for pair in tokenize(reviews(20, suffix=suffix, draw=Random(0)), make_tokenizer()):
            assert len(pair.chosen_ids) == len(pair.rejected_ids)
            assert pair.chosen_ids[0] != pair.rejected_ids[0]
            assert pair.chosen_ids[1:] == pair.rejected_ids[1:]
        lengths.append(len(pair.chosen_ids))
    assert lengths == sorted(set(lengths))


def test_fact_is_the_difference_of_the_two_analyses(runs):
    for run in runs:
        for side, column in enumerate(("chosen_logp", "rejected_logp")):
            before, after = (sum(a.pairs[column].to_pylist()) / a.pairs.num_rows for a in (run.before, run.after))
            assert run.tuning.measured[side] == pytest.approx(after - before, abs=1e-4)


def test_forecast_of_small_steps_is_near_the_fact(runs):
    for run in runs:
        # Both are some ten-thousandths of a nat.
        assert run.tuning.forecast == pytest.approx(run.tuning.measured, abs=1e-3)


def test_tuning_widens_the_margin(runs):
    for run in runs:
        chosen, rejected = run.tuning.measured
        assert chosen > rejected


def test_reference_of_the_second_analysis_is_the_model_before_tuning(runs):
    for run in runs:
        assert run.after.pairs["ref_chosen_logp"].to_pylist() == pytest.approx(
            run.before.pairs["chosen_logp"].to_pylist(), abs=1e-4
        )


def test_results_are_saved_and_the_story_is_told(runs, tmp_path, capsys):
    reports = save_demo(runs, tmp_path)
    assert all(path.is_file() for path in reports)
    for form in SUFFIXES:
        for when in ("before", "after"):
            assert Analysis.load(tmp_path / form.replace(" ", "-") / when).pairs.num_rows == SMOKE.held_out
    assert len(json.loads((tmp_path / "demo.json").read_text())["runs"]) == len(SUFFIXES)
    print_demo_summary(runs, SMOKE)
    told = capsys.readouterr().out
    assert all(form in told for form in SUFFIXES)


def test_the_story_says_what_happened_and_not_what_should_have(runs, capsys):
    fallen = [replace(run, tuning=Tuning(forecast=(-1.0, -2.0), measured=(-1.5, -2.0))) for run in runs]
    risen = [replace(run, tuning=Tuning(forecast=(1.0, -2.0), measured=(1.0, -2.0))) for run in runs]
    print_demo_summary(fallen, SMOKE)
    first = " ".join(capsys.readouterr().out.split())
    print_demo_summary(risen, SMOKE)
    second = " ".join(capsys.readouterr().out.split())
    assert "less likely in 1 of 1 (single token)" in first
    assert "at most 0.5 nats" in first
    assert "less likely in 0 of 1 (single token)" in second
