"""A micro-batch: its pairs without padding, and the coefficients of its loss."""

import pytest
import torch

from preflens.training.probe.micro_batch import MicroBatch, pair_id

IDS = torch.tensor([[1, 5, 6, 0], [1, 7, 0, 0]])
COMPLETION = torch.tensor([[False, True, True, False], [False, True, False, False]])


def batch(completion=COMPLETION, coefficients=None):
    return MicroBatch(IDS, IDS != 0, completion, coefficients)


def test_pairs_have_no_padding_and_ids_of_their_tokens():
    (pair,) = batch().pairs()
    assert (pair.prompt_ids, pair.chosen_ids, pair.rejected_ids) == ((1,), (5, 6), (7,))
    assert pair.pair.id == pair_id((1,), (5, 6), (7,))


def test_a_response_without_a_scored_token_is_incomplete():
    assert batch().complete
    assert not batch(COMPLETION & (IDS != 7)).complete


def test_coefficients_undo_the_mean_over_pairs_and_micro_batches():
    # Two micro-batches of one pair: TRL's gradient of −0.3 a_w + 0.2 a_l is divided by 2.
    sent = torch.tensor([[-0.15, -0.15, 0.0], [0.1, 0.0, 0.0]])
    coefficients = batch(coefficients=sent).coefficients(accumulated=2)
    assert coefficients.chosen.tolist() == pytest.approx([0.3])
    assert coefficients.rejected.tolist() == pytest.approx([0.2])


def test_a_loss_that_weights_tokens_differently_has_no_coefficients_of_responses():
    assert batch(coefficients=torch.tensor([[-0.1, -0.2, 0.0], [0.1, 0.0, 0.0]])).coefficients(1) is None
    assert batch().coefficients(1) is None  # before the backward pass
