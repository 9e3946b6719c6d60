"""Where held-out pairs come from."""

import json

import pytest

from preflens.errors import InputError
from preflens.training.probe.held_out import held_out_pairs, tokenized_row
from preflens.training.probe.micro_batch import pair_id
from tests.cases.language_models import tiny_tokenizer

ROW = {"prompt": "the sky is", "chosen": " blue", "rejected": " green"}


def test_a_number_takes_rows_of_the_evaluation_data_as_the_trainer_tokenised_them():
    tokenised = [{"prompt_ids": [1, 2], "chosen_ids": [3, 4, 5], "rejected_ids": [6], "id": k} for k in range(5)]
    found = held_out_pairs(3, tokenised, tiny_tokenizer(), max_length=4)
    assert [pair.pair.id for pair in found] == ["0", "1", "2"]
    assert found[0].chosen_ids == (3, 4)  # cut where the collator cuts
    assert held_out_pairs(2, {"a": tokenised, "b": []}, tiny_tokenizer(), max_length=None)[1].pair.id == "1"


def test_without_evaluation_data_nothing_is_held_out():
    assert held_out_pairs(8, None, tiny_tokenizer(), max_length=None) == ()
    assert held_out_pairs(0, [ROW], tiny_tokenizer(), max_length=None) == ()


def test_files_and_rows_are_read_as_everywhere(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    (of_file,) = held_out_pairs(path, None, tiny_tokenizer(), max_length=32)
    (of_rows,) = held_out_pairs([ROW], None, tiny_tokenizer(), max_length=32)
    assert of_file.chosen_ids == of_rows.chosen_ids


def test_evaluation_data_that_are_not_tokenised_are_refused():
    with pytest.raises(InputError, match="probe_pairs"):
        held_out_pairs(1, [ROW], tiny_tokenizer(), max_length=None)


def test_ids_tell_pairs_by_their_tokens():
    row = {"prompt_ids": [1], "chosen_ids": [2], "rejected_ids": [3]}
    assert tokenized_row(row, None).pair.id == pair_id((1,), (2,), (3,))
    assert pair_id((1,), (2,), (3,)) != pair_id((1, 2), (), (3,))
