"""Pairs and log-probs of a TRL batch."""

import torch

from preflens.training.loss import ScoredRows, pair_batch, pair_logps

LOGPS = torch.tensor([[-1.0, -2.0, 9.0], [-3.0, 9.0, 9.0]])
MASK = torch.tensor([[True, True, False], [True, False, False]])


def test_totals_are_sums_over_response_tokens_only():
    rows = ScoredRows(LOGPS, MASK)
    assert rows.totals().tolist() == [-3.0, -3.0]
    assert rows.totals(torch.ones(2, 3)).tolist() == [2.0, 1.0]


def test_a_batch_becomes_pairs_with_masks_of_booleans():
    ids = torch.tensor([[1, 2], [1, 3]])
    batch = pair_batch({"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": ids - 1})
    assert torch.equal(batch.input_ids, ids)
    assert batch.completion_mask.tolist() == [[False, True], [False, True]]


def test_log_probs_of_pairs_have_their_sums_and_the_reference_of_either_form():
    rows = ScoredRows(LOGPS, MASK)
    of_rows = pair_logps(rows, ScoredRows(2 * LOGPS, MASK))
    assert (of_rows.chosen.tolist(), of_rows.rejected.tolist()) == ([-3.0], [-3.0])
    assert (of_rows.ref_chosen.tolist(), of_rows.ref_rejected.tolist()) == ([-6.0], [-6.0])
    of_sums = pair_logps(rows, (torch.tensor([-5.0]), torch.tensor([-7.0])))
    assert (of_sums.ref_chosen.tolist(), of_sums.ref_rejected.tolist()) == ([-5.0], [-7.0])
    assert pair_logps(rows, None).ref_chosen is None
