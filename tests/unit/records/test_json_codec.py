"""Dataclasses to JSON and back."""

from dataclasses import dataclass

import pytest

from preflens.records.json_codec import from_json, to_json


@dataclass(frozen=True)
class Inner:
    value: float | None


@dataclass(frozen=True)
class Outer:
    name: str
    parts: tuple[Inner, ...]
    by_name: dict[str, Inner]
    mixed: dict[str, int | str | None]


RECORD = Outer("é\u2028\ud83d", (Inner(0.1 + 0.2), Inner(None)), {"a": Inner(5e-324)}, {"x": 1, "y": "z", "w": None})


def test_records_survive_exactly():
    assert from_json(Outer, to_json(RECORD)) == RECORD


def test_records_can_be_written_as_utf_8():
    assert '"é\u2028\\ud83d"' in to_json(RECORD).encode().decode()


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(Inner(float("nan")))


def test_a_value_of_another_type_is_named_with_its_place():
    text = to_json(RECORD).replace("5e-324", '"small"')
    with pytest.raises(ValueError, match=r"`by_name.a.value` should be of type float. Found str"):
        from_json(Outer, text)


def test_a_float_may_have_been_written_without_a_fraction():
    assert from_json(Inner, '{"value": 1}') == Inner(1.0)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"name": 1}', "[1]", '{"value": true}', '{"value": NaN}'])
def test_other_texts_are_refused(text):
    for kind in (Outer, Inner):
        with pytest.raises(ValueError, match=r".+"):
            from_json(kind, text)
