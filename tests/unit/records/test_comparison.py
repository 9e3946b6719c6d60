"""A comparison survives its files; its verdict says what its numbers say."""

import json
from dataclasses import replace

import pytest

from preflens import Comparison
from preflens.errors import InputError
from preflens.records.comparison_facts import Change
from preflens.records.comparison_tables import COMPARE_SCHEMA, HELD_OUT_SCHEMA, TRAINING_SCHEMA
from preflens.records.comparison_wording import groups, scaled, verdict
from preflens.records.facts import Estimate
from tests.cases.comparisons import COMPARISONS, typical, without_gain


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_survives_save_and_load_bit_for_bit(name, tmp_path):
    found = COMPARISONS[name]()
    found.save(tmp_path)
    again = Comparison.load(tmp_path)
    assert again.facts == found.facts
    assert all(getattr(again, t).equals(getattr(found, t)) for t in ("rows", "pairs", "held_out"))
    assert {p.name for p in tmp_path.iterdir()} == {
        "compare.json", "compare.parquet", "compare_pairs.parquet", "compare_heldout.parquet"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["compare.json", "compare.parquet", "compare_heldout.parquet"])
def test_a_missing_or_damaged_file_is_named(name, tmp_path):
    typical().save(tmp_path)
    (tmp_path / name).write_bytes(b"{")
    with pytest.raises(InputError, match=f"{name}` cannot be read.*Run `preflens compare` again"):
        Comparison.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"holds no finished comparison: {name} not found"):
        Comparison.load(tmp_path)


def test_another_format_is_refused(tmp_path):
    typical().save(tmp_path)
    record = json.loads((tmp_path / "compare.json").read_text())
    (tmp_path / "compare.json").write_text(json.dumps(record | {"format_version": 99}))
    with pytest.raises(InputError, match="has format 99"):
        Comparison.load(tmp_path)


def test_every_column_has_a_unit_and_a_meaning():
    for schema in (COMPARE_SCHEMA, TRAINING_SCHEMA, HELD_OUT_SCHEMA):
        for column in schema:
            assert column.metadata[b"about"], column.name
            assert b"unit" in column.metadata


def with_changes(*chosen):
    """The typical comparison with other held-out changes: (value, low, high) for each objective, no two alike."""
    facts = typical().facts
    objectives = tuple(
        replace(o, heldout=Change(Estimate(*c), o.heldout.rejected, o.heldout.margin), margin_scale=2.0,
                same_direction_as=None)
        for o, c in zip(facts.objectives, chosen, strict=False)
    )  # fmt: skip
    return replace(facts, objectives=objectives)


UP, HOLD, DOWN = (0.2, 0.1, 0.3), (0.01, -0.1, 0.1), (-0.2, -0.3, -0.1)


def test_the_verdict_says_which_raise_hold_and_sink():
    found = verdict(with_changes(UP, HOLD, DOWN))
    assert found.headline == (
        "Of 3 directions that a first step can take, 1 raises, 1 holds, 1 sinks the held-out chosen answers."
    )
    assert dict(found.parts) == {
        "rises": "dpo (+0.4) raise the chosen answers.",
        "unclear": "dpo:beta=0.5 (+0.02) hold them: no change that can be told from zero.",
        "falls": "dpo:beta=1 (−0.4) sink the chosen answers.",
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((UP, UP), "every objective raises"),
        ((DOWN, DOWN), "every objective sinks"),
        ((HOLD, HOLD), "no objective moves"),
    ],
)
def test_the_headline_when_all_agree(changes, words):
    assert words in verdict(with_changes(*changes)).headline


def test_objectives_of_one_direction_are_one_group_and_the_best_comes_first():
    found = groups(typical().facts)
    assert ("dpo", "dpo:beta=0.5", "dpo:beta=1", "ipo") in [g.labels for g in found]
    values = [g.chosen.value for g in found if g.chosen.value is not None]
    assert values == sorted(values, reverse=True)


def test_what_is_not_rescaled_and_left_out_is_said():
    text = " ".join(verdict(without_gain().facts).detail)
    assert "Not rescaled, because the mean training margin does not grow with them: shrinking." in text
    facts = replace(typical().facts, left_out={"kto": "couples the pairs"})
    assert "Left out: kto (couples the pairs)." in " ".join(verdict(facts).detail)


def test_real_steps_are_part_of_the_verdict():
    text = " ".join(verdict(typical().facts).detail)
    assert "small ones were forecast on held-out pairs with an R² of" in text
    assert "within 10 % of the fact" in text


def test_scaling_keeps_what_is_missing_missing():
    assert scaled(Estimate(2.0, 1.0, None), 3.0) == Estimate(6.0, 3.0, None)
    assert scaled(Estimate(2.0), None) == scaled(Estimate(None), 2.0) == Estimate(None)
