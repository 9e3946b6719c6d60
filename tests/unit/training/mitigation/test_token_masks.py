"""Tokens of a batch are weighted before its loss."""

import torch

from preflens.language_models.batch import PairBatch
from preflens.mitigations.parse import parse_mitigation
from preflens.objectives.parse import parse_objective
from preflens.pair_logps import PairLogps
from preflens.training.mitigation.strategy import StrategyContext
from preflens.training.mitigation.token_masks import TokenMasking
from tests.support.stub_trainer import StubTrainer


def test_contrast_masks_keep_the_tokens_that_the_other_response_does_not_have():
    ids = torch.tensor([[1, 5, 6, 7], [1, 5, 8, 7]])  # chosen 5 6 7, rejected 5 8 7
    completion = torch.tensor([[False, True, True, True]] * 2)
    token_logps = torch.tensor([[-1.0, -2.0, -4.0], [-1.0, -16.0, -32.0]], dtype=torch.float64)
    logps = PairLogps.from_rows(token_logps, completion[:, 1:], ref_token_logps=torch.zeros_like(token_logps))
    context = StrategyContext(trainer=StubTrainer(), whole_update=False, constraints=None)
    masking = TokenMasking(parse_mitigation("sparse_mask:kind=contrast"), context)
    masked = masking.masked(
        logps, PairBatch(ids, torch.ones_like(completion), completion), parse_objective("dpo"),
        model=torch.nn.Linear(1, 1), forward=lambda _: lambda: torch.zeros(2),
    )  # fmt: skip
    assert (masked.chosen.item(), masked.rejected.item()) == (-2.0, -16.0)
    assert masking.kept == 2 / 6
