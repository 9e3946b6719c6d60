"""Trainers that the probe does not support are refused; rows are numbered by their pairs."""

import pytest
from datasets import Dataset

from preflens.errors import InputError, UnsupportedModelError
from preflens.training.probe.callback import PreflensCallback
from preflens.training.probe.micro_batch import pair_id
from preflens.training.probe.trainer_adapter import calling_trainer, check_trainer, number_rows
from tests.support.stub_trainer import StubTrainer


def test_what_is_no_dpo_trainer_is_refused_by_name():
    with pytest.raises(UnsupportedModelError, match=r"Found a `object`.*PreferenceTrainer\(objective=…\)"):
        check_trainer(object())
    orpo = type("ORPOTrainer", (), {"beta": 0.2})()
    with pytest.raises(UnsupportedModelError, match=r"PreferenceTrainer\(objective='orpo:lam=0.2'\)"):
        check_trainer(orpo)


def test_a_callback_that_no_trainer_calls_finds_none():
    with pytest.raises(InputError, match="attach"):
        calling_trainer(PreflensCallback())


def test_rows_are_numbered_by_the_tokens_of_their_pairs_the_first_of_equal_rows():
    rows = [{"prompt_ids": [1], "chosen_ids": [2], "rejected_ids": [k]} for k in (3, 4, 3)]
    numbers = number_rows(StubTrainer(train_dataset=Dataset.from_list(rows)))
    assert numbers == {pair_id((1,), (2,), (3,)): 0, pair_id((1,), (2,), (4,)): 1}
    assert number_rows(StubTrainer(train_dataset=iter(rows))) == {}
