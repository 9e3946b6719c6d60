"""The evaluator: memory beside training, and log-probs before and after. Its forecasts are laws."""

from contextlib import nullcontext

import pytest
import torch

from preflens.analysis.measurement.forward_passes import PolicyScorer
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.evaluator import PairEvaluator
from tests.cases.language_models import tiny_model, tiny_tokenizer

PAIRS = [TokenizedPair(PreferencePair(str(k), "", "", ""), (1, 5 + k), (6, 7, 8 + k), (9,)) for k in range(3)]


@pytest.mark.parametrize("trained", [False, True])
def test_on_a_gpu_nothing_is_kept_beside_a_step_before_it_is_known_what_steps_need(trained, monkeypatch):
    model = tiny_model("llama")
    monkeypatch.setattr(type(model), "device", torch.device("cuda"))
    evaluator = PairEvaluator(PolicyScorer(model, None, 0), autocast=nullcontext)
    monkeypatch.setattr("preflens.training.probe.evaluator.memory_budget", lambda _: 50.0)  # half of what is free
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 90)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 30)
    assert evaluator.capture_bytes(trained=trained) == (20.0 if trained else 0.0)


def test_log_probs_are_those_of_the_model_in_evaluation_mode_with_chosen_first():
    model = tiny_model("llama", dtype=torch.float32).train()
    scorer = PolicyScorer.of(model, tiny_tokenizer(), tuple(PAIRS[:1]))
    evaluator = PairEvaluator(scorer, nullcontext, memory=1e9)
    expected = response_logps(model, collate(PAIRS, pad_token_id=0)).double()
    torch.testing.assert_close(evaluator.logps(PAIRS), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(evaluator.fine_logps(PAIRS), evaluator.logps(PAIRS))  # nothing is coarser than the weights
    assert model.training
    assert all(p.grad is None for p in model.parameters())
