"""Messages: which have the form of one, and what people read of them."""

import pytest

from preflens.language_models.conversations import is_message, other_part, render, says_something

CALL = {"tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "hi"},
        {"role": "user", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": None} | CALL,
        {"role": "assistant"} | CALL,
        {"role": "assistant", "reasoning_content": "hm"},
    ],
)
def test_text_parts_calls_and_reasoning_make_a_message(message):
    assert is_message(message)


@pytest.mark.parametrize(
    "value",
    [
        "hi",
        {"content": "hi"},
        {"role": 1, "content": "hi"},
        {"role": "user"},
        {"role": "user", "content": None, "name": "ann"},
        {"role": "user", "content": 3},
        {"role": "user", "content": ["hi"]},
        {"role": "assistant", "content": None, "tool_calls": []},
    ],
)
def test_a_value_without_role_or_anything_said_is_no_message(value):
    assert not is_message(value)


def test_fields_that_a_table_fills_with_null_say_nothing():
    assert not says_something({"role": "assistant", "content": " ", "tool_calls": None, "name": "ann"})
    assert says_something({"role": "assistant", "content": ""} | CALL)


def test_parts_that_are_no_text_are_found():
    assert other_part({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}) == "image"
    assert other_part({"role": "user", "content": [{"type": "text", "text": None}]}) == "text"
    assert other_part({"role": "user", "content": "a"}) is None


def test_people_read_text_and_calls_with_the_role_before_them():
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "1 and "}, {"type": "text", "text": "2?"}]},
        {"role": "assistant", "content": "Wait.", "tool_calls": [{"name": "add"}]},
        {"role": "tool", "content": "3", "name": "add"},
    ]
    assert render(turns) == 'user: 1 and 2?\nassistant: Wait.\n{"tool_calls": [{"name": "add"}]}\ntool: 3'
    assert render("as it is") == "as it is"
