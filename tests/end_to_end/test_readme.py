"""What the README shows works, and its numbers are those of the committed results."""

import json
import re
from pathlib import Path
from statistics import mean

from preflens.demo.synthetic_reviews import SUFFIXES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", README, re.S)[0]  # the one on training is a sketch
    exec(code, {"MODEL": str(place / "model"), "PAIRS": str(place / "pairs.jsonl")})
    assert (tmp_path / "report.html").is_file()
    assert "simpo:gamma=0.5" in capsys.readouterr().out


def test_the_python_example_of_choosing_an_objective_runs(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "choose-an-objective.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(code, {"MODEL": str(place / "model"), "PAIRS": str(place / "pairs.jsonl")})
    assert (tmp_path / "results" / "compare.json").is_file()
    assert "dpo:beta=0.01" in capsys.readouterr().out


def test_every_linked_file_is_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_column_it_explains_is_a_column():
    from preflens.records.analysis_schema import OBJECTIVES_SCHEMA, PAIRS_SCHEMA

    named = set(re.findall(r"^\| (.*?) \|", README, re.M))
    columns = {c for row in named for c in re.findall(r"`(\w+)`", row)}
    assert columns <= {*PAIRS_SCHEMA.names, *OBJECTIVES_SCHEMA.names}
    assert "band_slack" in columns


def test_the_demo_numbers_it_quotes_are_committed():
    runs = json.loads((ROOT / "docs" / "results" / "demo.json").read_text())["runs"]
    long = [run for run in runs if run["form"] == list(SUFFIXES)[-1]]
    lost = -mean(run["measured"][0] for run in long)
    assert len(long) == 3
    assert f"lost {lost:.2f} nats on average over three seeds" in " ".join(README.split())
