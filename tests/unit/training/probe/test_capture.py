"""A captured step: its batches and coefficients, without a trace in the model."""

import pytest
import torch
from trl.trainer.utils import add_fused_lm_head

from preflens.errors import UnsupportedModelError
from preflens.training.probe.capture import BatchCapture
from tests.cases.language_models import tiny_model

IDS = torch.tensor([[1, 5, 6], [1, 7, 8]])
LABELS = IDS.masked_fill(torch.tensor([[True, False, False]] * 2), -100)


@pytest.fixture
def model():
    made = tiny_model("llama", dtype=torch.float32).train()
    add_fused_lm_head(made)
    return made


def step(model, **more):
    mask = torch.ones_like(IDS)
    return model(input_ids=IDS, attention_mask=mask, labels=LABELS, fused_lm_head=True, **more).log_probs


def test_batches_that_need_gradients_are_captured_with_the_coefficients_of_their_loss(model):
    capture = BatchCapture(model, None, memory=0.0)
    with torch.no_grad():
        step(model)  # of a reference, say
    logps = step(model)
    (torch.tensor([-0.3, 0.2]) @ logps.sum(1)).backward()
    capture.close()
    (batch,) = capture.micro_batches
    assert batch.pairs()[0].chosen_ids == (5, 6)
    assert batch.response_coefficients().tolist() == pytest.approx([-0.3, 0.2])
    assert batch.gradients is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_what_is_no_text_fails_the_capture_and_not_the_pass(model):
    capture = BatchCapture(model, None, memory=0.0)
    logps = step(model, output_attentions=False)
    assert logps.requires_grad
    assert capture.micro_batches == []
    with pytest.raises(UnsupportedModelError, match="`output_attentions`"):
        capture.close()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
