"""Rows to pairs: formats, prompts, and rows that cannot be used."""

import re
from dataclasses import replace

import pytest

from preflens.language_models.conversations import render
from preflens.language_models.pairs import preference_pair, split_prompt

GOOD = {"prompt": "p", "chosen": "c", "rejected": "r"}
MESSAGES = [{"role": "assistant", "content": "yes"}]
USER = {"role": "user", "content": "hi"}


def pair(row):
    return preference_pair(row, number=7, place="`data.jsonl`, line 8")


def test_id_falls_back_to_the_row_number():
    assert pair(GOOD).id == "7"
    assert pair(GOOD | {"id": None}).id == "7"
    assert pair(GOOD | {"id": 12}).id == "12"


def test_prompt_of_texts_is_their_common_beginning_without_the_space_before_the_difference():
    found = pair({"chosen": "The sky is blue", "rejected": "The sky is green"})
    assert (found.prompt, found.chosen, found.rejected) == ("The sky is", " blue", " green")


def test_prompt_of_conversations_is_their_common_turns():
    user = {"role": "user", "content": "hi"}
    found = pair({"chosen": [user, *MESSAGES], "rejected": [user, {"role": "assistant", "content": "no"}]})
    assert found.prompt == [user]
    assert found.chosen == MESSAGES
    assert found.conversational


def test_text_prompt_beside_conversations_is_taken_from_the_conversations():
    user = {"role": "user", "content": "hi"}
    other = [user, {"role": "assistant", "content": "no"}]
    assert pair({"prompt": "hi", "chosen": [user, *MESSAGES], "rejected": other}).prompt == [user]


@pytest.mark.parametrize("turn", ["hi\n", [{"type": "text", "text": "hi"}]])
def test_a_text_prompt_may_repeat_any_turn_of_the_user(turn):
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": turn},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "what now?"},
    ]
    sides = {"chosen": [*turns, *MESSAGES], "rejected": [*turns, {"role": "assistant", "content": "no"}]}
    for prompt in ("hi", "what now?", ""):
        assert pair(sides | {"prompt": prompt}).prompt == turns
    with pytest.raises(ValueError, match="those do not begin with it as a user's turn"):
        pair(sides | {"prompt": "hello"})


def test_messages_without_a_turn_in_common_have_no_prompt():
    with pytest.raises(ValueError, match="messages without a first turn in common"):
        pair({"chosen": [{"role": "user", "content": "a"}, *MESSAGES], "rejected": [{"role": "user", "content": "b"}]})


def test_an_answer_that_only_calls_a_tool_is_an_answer():
    call = [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]
    for content in ({"content": None}, {"content": ""}, {}):
        answer = [{"role": "assistant", **content, "tool_calls": call}]
        assert pair({"prompt": [USER], "chosen": answer, "rejected": MESSAGES}).chosen == answer


def test_a_character_that_is_half_is_refused_wherever_it_stands():
    half = {"type": "function", "function": {"name": "\ud83d"}}
    for column, value in {"id": "\udc00", "prompt": "a\ud800", "rejected": "\udfff", "tools": [half]}.items():
        with pytest.raises(ValueError, match=rf"`{column}` holds \\ud[8-f]\w\w alone"):
            pair(GOOD | {column: value})
    with pytest.raises(ValueError, match="`chosen` holds .ud83d alone"):
        pair({"prompt": [USER], "chosen": [{"role": "assistant", "tool_calls": [half]}], "rejected": MESSAGES})
    assert pair(GOOD | {"chosen": "\U0001f600"}).chosen == "\U0001f600"


def test_pairs_are_equal_wherever_they_stand():
    elsewhere = preference_pair(GOOD, number=7, place="row 7")
    assert pair(GOOD) == elsewhere
    assert (pair(GOOD).where, elsewhere.where) == ("`data.jsonl`, line 8", "row 7")
    assert replace(elsewhere, place="").where == "Pair `7`"


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ("abc", "abd", ("ab", "c", "d")),
        ("same", "same", ("sam", "e", "e")),
        ("long", "longer", ("lon", "g", "ger")),
        ("x ", "y", ("", "x ", "y")),
        ("a b", "a c", ("a", " b", " c")),
    ],
)
def test_split_prompt(chosen, rejected, expected):
    assert split_prompt(chosen, rejected) == expected


def test_split_prompt_agrees_with_trl_wherever_there_is_a_common_beginning():
    from trl import extract_prompt

    for chosen, rejected in [
        ("The sky is blue", "The sky is green"),
        ("same", "same"),
        ("long", "longer"),
        ("a b", "a c"),
    ]:
        theirs = extract_prompt({"chosen": chosen, "rejected": rejected})
        assert split_prompt(chosen, rejected) == (theirs["prompt"], theirs["chosen"], theirs["rejected"])


def test_tools_and_template_arguments_are_kept():
    found = pair(GOOD | {"tools": '[{"name": "f"}]', "chat_template_kwargs": {"think": False}})
    assert found.template_arguments == {"tools": [{"name": "f"}], "think": False}


def test_messages_are_rendered_with_their_roles():
    assert render([{"role": "user", "content": "hi"}, *MESSAGES]) == "user: hi\nassistant: yes"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": "c", "answer": "r"}, "column `rejected` is missing.*Found `answer`, `chosen`"),
        ({}, "column `chosen`, `rejected` is missing.*Found no column"),
        (GOOD | {"chosen": 3}, "`chosen` should be a text.*Found int 3"),
        (GOOD | {"rejected": None}, "`rejected` should be a text.*Found null"),
        (GOOD | {"prompt": 1.5}, "`prompt` should be a text.*Found float 1.5"),
        (GOOD | {"chosen": ["a"]}, "`chosen` should be a text.*Found list"),
        (GOOD | {"chosen": [{"role": "user"}], "rejected": MESSAGES}, "`chosen` should be"),
        (GOOD | {"chosen": ""}, "`chosen` is empty"),
        (GOOD | {"rejected": "  \n"}, "`rejected` is empty"),
        (GOOD | {"chosen": [], "rejected": []}, "`chosen` is empty"),
        (GOOD | {"chosen": [{"role": "assistant", "content": ""}], "rejected": MESSAGES}, "`chosen` is empty"),
        (GOOD | {"chosen": MESSAGES, "rejected": MESSAGES}, "`prompt` is a text.*do not begin with it"),
        (
            {"prompt": [], "chosen": [USER, *MESSAGES], "rejected": [USER, *MESSAGES]},
            "`prompt` is an empty list.*leave the column `prompt` out",
        ),
        (GOOD | {"rejected": MESSAGES}, "one of `chosen` and `rejected` is a text"),
        (GOOD | {"prompt": MESSAGES}, "`prompt` is a list of messages while"),
        (GOOD | {"chat_template_kwargs": 3}, "`chat_template_kwargs` should be an object"),
        (GOOD | {"tools": "{"}, "`tools` is not JSON"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_place_and_field(row, message):
    with pytest.raises(ValueError, match=re.escape("`data.jsonl`, line 8: ") + message):
        pair(row)
