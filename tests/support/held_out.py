"""A tiny model, two update batches, three held-out pairs: what is asked of them, and what brute force says."""

from contextlib import contextmanager

import torch

from preflens.analysis.comparison.model_queries import ModelQueries
from preflens.analysis.measurement.checkpoint import Checkpoint
from preflens.analysis.measurement.forward_passes import PassLimit, PolicyScorer
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.language_models.parameters import observing
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS
from tests.support.rows import tokenized

TRAINING, HELD_OUT = 4, 3


@contextmanager
def tiny_case():
    """The model's queries, the update batches, the held-out pairs."""
    model = tiny_model()
    rows = [row | {"id": str(i), "prompt": f"{i} {row['prompt']}"} for i, row in enumerate(TEXT_ROWS * 3)]
    pairs = tokenized(rows)[: TRAINING + HELD_OUT]
    with observing(model, "all"):
        scorer = PolicyScorer.of(model, tiny_tokenizer(), pairs)
        queries = ModelQueries(scorer, PassLimit(pairs=2), "self", 1e9, Checkpoint(None, ""), progress=False)
        yield queries, [pairs[:2], pairs[2:4]], pairs[4:]


def gradients(model, pairs):
    """Of all responses, by autograd: [response, parameter]."""
    values = response_logps(model, collate(pairs, pad_token_id=0))
    parameters = list(model.parameters())
    rows = [torch.autograd.grad(v, parameters, retain_graph=True, materialize_grads=True) for v in values]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows]).double()
