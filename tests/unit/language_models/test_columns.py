"""Columns that are not read: when a row may not be used for it, and when that is only said."""

import numpy as np
import pytest

from preflens.errors import InputError
from preflens.language_models.columns import unread_context
from preflens.language_models.pairs import preference_pair
from preflens.language_models.reading import pairs_in_memory

TEXTS = {"chosen": "In Italy.", "rejected": "In Norway."}
USER = {"role": "user", "content": "Where is\nRome?"}
TURNS = {side: [USER, {"role": "assistant", "content": text}] for side, text in TEXTS.items()}


def pair(row):
    return preference_pair(row, number=0, place="row 0")


@pytest.mark.parametrize(
    "name", ["question", "Question", "instruction", "instructions", "problem", "post", "system", "messages"]
)
def test_a_row_without_a_prompt_that_keeps_it_elsewhere_is_refused_by_the_name_of_the_column(name):
    value = [[["Where", "is"], ["Rome?", ""]]] if name == "history" else "Where is Rome?"
    with pytest.raises(InputError, match=f"row 0: there is no column `prompt`.*what `{name}` says would not be read"):
        pair(TEXTS | {name: [USER] if name == "messages" else value})


def test_all_such_columns_are_named():
    with pytest.raises(InputError, match="what `system`, `question` says"):
        pair(TEXTS | {"system": "Be brief.", "question": "Where is Rome?", "source": "a book"})


def test_a_column_that_repeats_what_the_responses_begin_with_is_no_loss():
    assert pair(TURNS | {"question": "Where is Rome?"}).prompt == [USER]
    assert pair(TEXTS | {"instruction": "In", "input": "", "system": None}).prompt == "In"
    with pytest.raises(InputError, match="what `system` says"):
        pair(TURNS | {"question": "Where is Rome?", "system": "Be brief."})


def test_beside_a_prompt_it_is_said_what_is_not_read_and_counted():
    rows = [TEXTS | {"prompt": "Where is Rome?", "system": "Be brief.", "instruction": "Where is Rome?"}] * 2
    assert pairs_in_memory([*rows, TEXTS | {"prompt": "Where?"}]).noted == {"column `system` is not read": 2}


def test_a_conversation_that_repeats_prompt_and_answer_is_no_loss():
    assert pair(TURNS | {"messages": TURNS["chosen"]}).prompt == [USER]
    answers = {side: turns[1:] for side, turns in TURNS.items()}
    assert pairs_in_memory([answers | {"prompt": [USER], "messages": TURNS["rejected"]}]).noted == {}


def test_messages_under_another_name_are_looked_through():
    conversation = [{"from": "human", "value": "Where is Rome?"}, {"from": "gpt", "value": "Where?"}]
    assert unread_context({"conversations": conversation}, "Where is Rome? Where?") == []
    assert unread_context({"conversations": conversation[:1]}, "Where\nis Rome?") == []
    assert unread_context({"conversations": conversation}, "Rome?") == ["conversations"]


@pytest.mark.parametrize("name", ["image", "Images", "image_path", "pixel_values", "videos", "audio"])
def test_pictures_films_and_sound_are_refused_by_name(name):
    with pytest.raises(InputError, match=f"row 0: column `{name}` makes this a pair about more than text"):
        pair(TEXTS | {"prompt": "What is shown?", name: ["dog.png"]})
    with pytest.raises(InputError, match=f"column `{name}` makes this"):
        pair(TEXTS | {"prompt": "What is shown?", name: np.zeros((2, 3))})
    for nothing in (None, [], "", {}, np.zeros(0)):
        assert pair(TEXTS | {"prompt": "What is shown?", name: nothing}).chosen == "In Italy."


def test_parts_of_content_that_are_no_text_are_refused_by_name():
    parts = [{"type": "image", "image": "dog.png"}, {"type": "text", "text": "What is shown?"}]
    with pytest.raises(InputError, match="`prompt` has a message with a part of type `image`"):
        pair({side: turns[1:] for side, turns in TURNS.items()} | {"prompt": [{"role": "user", "content": parts}]})
