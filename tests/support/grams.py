"""Batches, brute-force references and comparisons for laws about the gradient engine."""

from functools import partial

import torch

from preflens.gram import brute_force_batch_gram
from preflens.language_models.batch import PairBatch, collate
from preflens.language_models.logps import response_logps
from preflens.language_models.output_head import head_input, plain_head
from preflens.objectives import dpo
from preflens.pair_logps import PairLogps

# Relative to the product of norms. In float64 a few hundred additions in another order.
EXACT = 1e-10
# Hugging Face's RMS norms, and softmaxes in eager attention, compute in float32 even in a float64 model, and what they
# round depends on the scale of the gradient that arrives.
FLOAT32_ISLANDS = 1e-6
WITHOUT_ISLANDS = {"gpt2", "opt", "gpt_neox"}


def tolerance(model):
    return EXACT if model.config.model_type in WITHOUT_ISLANDS else FLOAT32_ISLANDS


def batch_of(pairs, *, left=False):
    batch = collate(pairs, pad_token_id=0)
    if not left:
        return batch
    shift = [int(n) for n in (~batch.attention_mask).sum(1)]

    def moved(rows):
        return torch.stack([row.roll(by) for row, by in zip(rows, shift, strict=True)])

    return PairBatch(*(moved(rows) for rows in vars(batch).values()))


def ways(model, batch):
    """All kinds of forward pass that the engine accepts."""
    head = plain_head(model)
    forwards = {"log-probs": lambda: response_logps(model, batch)}
    return forwards if head is None else forwards | {"head": lambda: head_input(head, batch)}


def assert_close(result, expected, tolerance):
    """Matrices agree relative to the product of norms."""
    norms = expected.matrix.diagonal().sqrt()
    assert norms.min() > 0
    worst = ((result.matrix - expected.matrix).abs() / torch.outer(norms, norms)).max().item()
    assert worst <= tolerance


def assert_pairs_close(result, expected, tolerance):
    """Products within pairs agree relative to the product of norms."""
    scale = (expected.chosen_sq_norm * expected.rejected_sq_norm).sqrt()
    for entry, by in (
        ("chosen_sq_norm", expected.chosen_sq_norm),
        ("rejected_sq_norm", expected.rejected_sq_norm),
        ("inner_product", scale),
    ):
        assert ((getattr(result, entry) - getattr(expected, entry)).abs() <= tolerance * by).all(), entry


def reference(model, batch, **arguments):
    return brute_force_batch_gram(model, lambda: response_logps(model, batch), **arguments)


def dpo_loss(logps):
    """DPO's loss with references that differ from pair to pair."""
    references = (logps.detach() + torch.linspace(-2, 2, len(logps))).chunk(2)
    return dpo().loss(PairLogps(*logps.chunk(2), *references)).mean()


def forward_of(model, batch):
    head = plain_head(model)
    return partial(response_logps, model, batch) if head is None else partial(head_input, head, batch)
