"""The head that scores response rows only gives TRL's numbers on them."""

import pytest
import torch
from trl.trainer.utils import add_fused_lm_head

from preflens.errors import UnsupportedModelError
from preflens.language_models.batch import PairBatch
from preflens.training.fused_head import response_rows_only
from preflens.training.trainer_protocol import head_function
from tests.cases.language_models import tiny_model


def test_response_tokens_have_trls_log_probs_and_gradients_and_the_others_zero():
    model = tiny_model("llama", dtype=torch.float32)
    add_fused_lm_head(model)
    ids = torch.randint(1, 300, (2, 6), generator=torch.Generator().manual_seed(0))
    completion = torch.arange(6).repeat(2, 1) >= 3
    labels = ids.masked_fill(~completion, -100)
    weight, runs = model.lm_head.weight, []
    for replaced in (False, True):
        original = head_function()
        if replaced:
            with response_rows_only(PairBatch(ids, torch.ones_like(completion), completion)):
                logps = model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs
        else:
            logps = model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs
        assert head_function() is original
        (gradient,) = torch.autograd.grad(logps[completion[:, 1:]].sum(), weight)
        runs.append((logps, gradient))
    (theirs, their_gradient), (ours, our_gradient) = runs
    mask = completion[:, 1:]
    torch.testing.assert_close(ours[mask], theirs[mask])
    assert not ours[~mask].any()
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-4, atol=1e-6)


def test_the_replaced_head_refuses_what_it_does_not_do(tmp_path):
    model = tiny_model("llama", dtype=torch.float32)
    add_fused_lm_head(model, temperature=0.5)
    ids = torch.ones(2, 4, dtype=torch.long)
    batch = PairBatch(ids, ids.bool(), ids.bool())
    with pytest.raises(UnsupportedModelError, match="temperature"), response_rows_only(batch):
        model(input_ids=ids, labels=ids, fused_lm_head=True)
    assert model(input_ids=ids, labels=ids, fused_lm_head=True).log_probs.shape == (2, 3)
