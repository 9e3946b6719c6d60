"""The demo at its smallest, and its files."""

import json

from preflens.demo import run as demo_run
from preflens.demo.run import Setup, run_demo, save_demo
from preflens.demo.synthetic_reviews import SUFFIXES


def test_every_form_is_run_and_saved_with_its_numbers(tmp_path, monkeypatch):
    forms = dict(list(SUFFIXES.items())[-1:])  # all of them are run end to end
    monkeypatch.setattr(demo_run, "SUFFIXES", forms)
    counted = []
    setup = Setup(seeds=1, pretraining_steps=1, sft_steps=1, dpo_steps=1, held_out=4)
    runs = run_demo(setup, advance=counted.append)
    assert [run.form for run in runs] == list(forms)
    assert counted == [1]
    reports = save_demo(runs, tmp_path)
    assert [path.parent.name for path in reports] == ["before", "after"]
    assert all(path.is_file() for path in reports)
    rows = json.loads((tmp_path / "demo.json").read_text())["runs"]
    assert [row["form"] for row in rows] == list(forms)
    assert rows[0]["measured"] == list(runs[0].tuning.measured)
