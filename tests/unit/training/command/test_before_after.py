"""Answers before and after training, and warnings about them."""

import json
from io import StringIO

import pytest
from rich.console import Console

from preflens.training.command.before_after import BeforeAfter, summarize_answers
from preflens.training.command.samples import Sample


def sample(answer="a b", *, tokens=10, ended=True, repeated=0.0):
    return Sample(prompt="<s>ask", answer=answer, tokens=tokens, ended=ended, repetition=repeated)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({"repeated": 0.5}, "Answers repeat themselves: 50%"),
        ({"tokens": 30}, "The length of answers changed a lot: 30 tokens, 10 before"),
        ({"tokens": 2}, "The length of answers changed a lot: 2 tokens, 10 before"),
        ({"ended": False}, "Answers no longer end: 0% ended within 64 tokens, 100% before"),
        ({"answer": "same"}, "All prompts get the same answer"),
        ({}, None),
    ],
)
def test_a_model_that_may_be_broken_is_pointed_out(after, said):
    answers = [{"answer": "one"}, {"answer": "two"}]
    pair = BeforeAfter([sample(**a) for a in answers], [sample(**(a | after)) for a in answers], 64)
    warnings = pair.warnings()
    assert [w[: len(said)] for w in warnings] == [said] if said else warnings == []


def test_the_file_holds_answers_means_and_warnings(tmp_path):
    BeforeAfter([sample("été")], [sample("[red]x", tokens=40, repeated=0.75)], 64).save(
        tmp_path / "preflens" / "s.json"
    )
    found = json.loads((tmp_path / "preflens" / "s.json").read_text(encoding="utf-8"))
    assert found["before"] == {"tokens": 10.0, "repetition": 0.0, "ended": 1.0}
    assert found["after"]["repetition"] == 0.75
    assert len(found["warnings"]) == 2
    (row,) = found["samples"]
    assert row["prompt"] == "<s>ask"
    assert row["before"] == {"answer": "été", "tokens": 10, "ended": True, "repetition": 0.0}


def test_the_table_shows_answers_as_they_are():
    page = Console(file=StringIO(), width=120)
    BeforeAfter([sample("[bold]no markup[/nonsense] \u202e\x1b[2J")], [sample("x" * 900)], 64).show(page)
    text = page.file.getvalue()
    assert "<U+202E>␛[2J" in text
    assert "[bold]no markup[/nonsense]" in text
    assert text.count("x") < 700
    assert "10.0 tokens, 0% repeated, 100% ended" in text


def test_of_a_long_prompt_the_table_shows_the_end():
    page, long = (
        Console(file=StringIO(), width=120),
        Sample(prompt="BEGINNING " + "x" * 600 + " END", answer="yes", tokens=1, ended=True, repetition=0.0),
    )
    BeforeAfter([long], [long], 64).show(page)
    assert "END" in page.file.getvalue()
    assert "BEGINNING" not in page.file.getvalue()


def test_a_summary_is_the_means():
    found = summarize_answers([sample(tokens=4, ended=False), sample(tokens=8, repeated=0.5)])
    assert (found.tokens, found.repetition, found.ended) == (6, 0.25, 0.5)
