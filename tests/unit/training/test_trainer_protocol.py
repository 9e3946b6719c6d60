"""The one file that knows private names of TRL: they exist, and do what is said."""

from types import SimpleNamespace

import pytest
import torch
from trl import DPOTrainer
from trl.trainer import utils as trl_utils

from preflens.training import PreferenceTrainer
from preflens.training import trainer_protocol as protocol
from tests.cases.training import make_trainer
from tests.support.stub_trainer import StubTrainer


@pytest.fixture(scope="module")
def trainers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trainers")
    ours = make_trainer(folder / "a", trainer=PreferenceTrainer, objective="dpo", mitigation="normalized")
    return make_trainer(folder / "b"), ours


def test_trainers_have_what_the_protocols_name(trainers):
    theirs, ours = trainers
    assert isinstance(theirs, protocol.TrainerLike)
    assert isinstance(ours, protocol.ObjectiveTrainerLike)
    assert not isinstance(theirs, protocol.ObjectiveTrainerLike)
    assert protocol.is_dpo_trainer(theirs)
    assert not protocol.is_dpo_trainer(object())


def test_objective_and_mitigation_are_those_of_our_trainer_only(trainers):
    theirs, ours = trainers
    assert protocol.objective_of(theirs) is None
    assert protocol.objective_of(ours) is ours.objective
    assert [protocol.is_mitigated(trainer) for trainer in trainers] == [False, True]


def test_metrics_reach_trls_log_by_split(trainers):
    theirs, _ = trainers
    protocol.log_metric(theirs, "mine", 1.5)
    protocol.log_metric(theirs, "mine", 2.5, split="eval")
    assert (theirs._metrics["train"]["mine"], theirs._metrics["eval"]["mine"]) == ([1.5], [2.5])  # TRL's own name


def test_tokens_are_counted_over_micro_batches():
    trainer = StubTrainer(_total_train_tokens=10, _tp_size=2)
    for _ in range(2):
        protocol.log_token_count(trainer, 8, split="train")
    assert trainer.logged()["num_tokens"] == [18]


def test_private_names_exist_in_trl(trainers):
    theirs, _ = trainers
    assert protocol.head_function() is trl_utils._ChunkedLogProbFunction
    assert protocol.tokenizer_of(theirs) is theirs.processing_class
    assert protocol.has_images(theirs) is False
    prepared = protocol.prepared_inputs(theirs, {"input_ids": torch.ones(1, 2, dtype=torch.long)})
    assert prepared["input_ids"].tolist() == [[1, 1]]
    assert {"_prepare_dataset", "_compute_loss", "_load_from_checkpoint", "_tag_names"} <= set(dir(DPOTrainer))


def test_the_head_function_comes_back_after_an_exception():
    original = protocol.head_function()
    with pytest.raises(ValueError, match="inside"), protocol.replaced_head_function("mine"):
        assert protocol.head_function() == "mine"
        raise ValueError("inside")
    assert protocol.head_function() is original


def test_wrappers_of_optimizers_and_adapters_are_recognized():
    inner = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])
    assert protocol.optimizer_of(SimpleNamespace(optimizer=inner)) is inner
    assert protocol.optimizer_of(inner) is inner
    model = torch.nn.Linear(1, 1)
    assert not protocol.is_peft(model)
    model.peft_config = {}
    assert protocol.is_peft(model)
