"""Whether a model can be tapped in training is tried on two rows, which leaves no trace."""

from contextlib import nullcontext

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaMLP
from trl.trainer.utils import add_fused_lm_head

from preflens.training.probe.rehearsal import can_be_tapped
from tests.cases.language_models import tiny_model


class Forbidden(LlamaMLP):
    """Raises, as autograd does where a model does what it forbids."""

    def forward(self, _):
        raise RuntimeError("Output 0 of a custom function is modified in place")


@pytest.mark.parametrize("fails", [False, True])
def test_a_model_whose_tapped_pass_raises_cannot_be_tapped_and_is_restored(fails):
    model = tiny_model("llama", dtype=torch.float32).eval()
    add_fused_lm_head(model)
    if fails:
        for layer in model.model.layers:
            layer.mlp.__class__ = Forbidden
    random = torch.get_rng_state()
    assert can_be_tapped(model, nullcontext) is not fails
    assert not model.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
