"""Pairs as TRL's data sets."""

import pytest

from preflens.errors import InputError
from preflens.language_models.reading import pairs_in_memory
from preflens.training.configuration import read_configuration
from preflens.training.pairs_for_trl import as_chat, rows_for_trl, training_data
from tests.cases.pairs import TEXT_ROWS, chat_rows
from tests.end_to_end.conftest import write_rows


def data(tmp_path, *flags):
    file = write_rows(tmp_path / "pairs.jsonl", TEXT_ROWS)
    return training_data(read_configuration(["--output_dir", str(tmp_path), "--data", str(file), *flags]))


NUMBERED = [row | {"source_row": number} for number, row in enumerate(TEXT_ROWS)]


def test_rows_keep_texts_ids_and_their_number_in_the_data():
    assert rows_for_trl(pairs_in_memory(TEXT_ROWS).pairs).to_list() == NUMBERED


def test_rows_keep_messages_tools_and_arguments_of_the_template():
    row = chat_rows()[0] | {"tools": [{"name": "f"}], "chat_template_kwargs": {"thinking": True}}
    (found,) = rows_for_trl(pairs_in_memory([row]).pairs).to_list()
    assert found["chosen"] == row["chosen"]
    assert found["tools"] == '[{"name": "f"}]'
    assert found["chat_template_kwargs"] == {"thinking": True}


def test_texts_become_turns():
    (pair,) = pairs_in_memory(TEXT_ROWS[:1]).pairs
    made = as_chat(pair)
    assert made.prompt == [{"role": "user", "content": "the sky is"}]
    assert made.rejected == [{"role": "assistant", "content": "green"}]
    assert as_chat(made) is made


def test_texts_beside_messages_are_refused():
    with pytest.raises(InputError, match=r"Some pairs are texts and some messages.*`as_chat`"):
        rows_for_trl(pairs_in_memory([TEXT_ROWS[0], chat_rows()[1]]).pairs)


def test_a_share_is_held_out_by_seed_and_nothing_is_lost(tmp_path):
    train, held_out = data(tmp_path, "--eval_fraction", "0.3", "--seed", "5")
    assert len(held_out) == 2
    assert sorted([*train["id"], *held_out["id"]]) == sorted(row["id"] for row in TEXT_ROWS)
    assert all(TEXT_ROWS[row["source_row"]]["chosen"] == row["chosen"] for row in [*train, *held_out])
    assert data(tmp_path, "--eval_fraction", "0.3", "--seed", "5")[1].to_list() == held_out.to_list()


def test_samples_and_a_file_of_held_out_pairs(tmp_path):
    other = write_rows(tmp_path / "other.jsonl", TEXT_ROWS[:3])
    train, held_out = data(tmp_path, "--limit", "4", "--eval_data", str(other), "--eval_limit", "2", "--as_chat")
    assert (len(train), len(held_out)) == (4, 2)
    assert train[0]["prompt"][0]["role"] == "user"


def test_everything_is_trained_on_unless_told_otherwise(tmp_path):
    train, held_out = data(tmp_path)
    assert (train.to_list(), held_out) == (NUMBERED, None)


def test_rows_that_are_left_out_are_counted(tmp_path, caplog):
    file = write_rows(tmp_path / "bad.jsonl", [*TEXT_ROWS, {"prompt": "a", "chosen": "b"}])
    assert len(data(tmp_path, "--data", str(file), "--on_bad_row", "drop")[0]) == 6
    assert "1 of 7 rows left out (bad row, the first is " in caplog.text


def test_nothing_left_to_train_on_is_refused(tmp_path):
    with pytest.raises(InputError, match="`eval_fraction` leaves nothing of 6 pairs"):
        data(tmp_path, "--eval_fraction", "0.95")


def test_a_data_set_that_trl_cannot_load_is_refused(tmp_path):
    flags = ["--output_dir", str(tmp_path), "--dataset_name", str(tmp_path / "nothere")]
    with pytest.raises(InputError, match=r"cannot be read: .*`--data`"):
        training_data(read_configuration(flags))
