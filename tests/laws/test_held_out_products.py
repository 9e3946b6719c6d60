"""What update batches do to held-out responses, by brute force and by a real optimizer, however memory cuts it."""

from dataclasses import replace

import pytest
import torch

from preflens.analysis.comparison.held_out_products import OptimizerQuestion, held_out_products
from preflens.analysis.measurement.checkpoint import Checkpoint
from preflens.optimizers.first_update import FirstUpdate
from preflens.optimizers.settings import OptimizerSettings
from tests.support.held_out import gradients, tiny_case

WEIGHTS = [
    torch.tensor([[0.3, 0.2, -0.4, -0.1], [0.05, 0.0, 0.0, -0.01]], dtype=torch.float64),
    torch.tensor([[0.1, 0.2, -0.2, -0.3]], dtype=torch.float64),
]
SETTINGS = OptimizerSettings(learning_rate=1e-3, weight_decay=0.1)


@pytest.fixture(scope="module")
def case():
    with tiny_case() as made:
        yield made


def stepped(model, gradient):
    """Change of all parameters when torch's AdamW steps on a loss with this gradient."""
    copies = [torch.nn.Parameter(p.detach().clone()) for p in model.parameters()]
    for copy, part in zip(copies, gradient.split([c.numel() for c in copies]), strict=True):
        copy.grad = part.reshape(copy.shape).to(copy)
    decayed = FirstUpdate(model, SETTINGS)
    groups = [
        {"params": [copy], "weight_decay": 0.1 if decayed.decays(p) else 0.0}
        for copy, p in zip(copies, model.parameters(), strict=True)
    ]
    SETTINGS.make(groups).step()
    return torch.cat([(c - p).detach().flatten() for c, p in zip(copies, model.parameters(), strict=True)]).double()


@pytest.mark.parametrize("memory", [1e9, 1.0])
def test_products_are_those_of_brute_force_and_of_a_real_step(case, memory):
    queries, batches, held_out = case
    queries = replace(queries, memory=memory)
    model = queries.scorer.model
    question = OptimizerQuestion(weights=WEIGHTS, update=FirstUpdate(model, SETTINGS), name="adamw")
    found = held_out_products(queries, batches, held_out, question)
    other = gradients(model, held_out)
    assert len(found) == len(batches)
    for batch, weights, products in zip(batches, WEIGHTS, found, strict=True):
        own = gradients(model, batch)
        scale = own.norm(dim=1)[:, None] * other.norm(dim=1)
        assert ((products.plain - own @ other.T).abs() <= 1e-6 * scale).all()
        for w, change, decay in zip(weights, products.updates, products.decay, strict=True):
            step = stepped(model, -(w @ own))
            assert ((change + decay - other @ step).abs() <= 1e-4 * step.norm() * other.norm(dim=1)).all()


def test_finished_groups_are_read_back(case, tmp_path):
    queries, batches, held_out = case
    queries = replace(queries, checkpoint=Checkpoint(tmp_path, "run"))
    question = OptimizerQuestion(weights=[w[:0] for w in WEIGHTS], update=None, name="plain")
    first = held_out_products(queries, batches, held_out, question)
    assert len(list(tmp_path.glob("held-out-*.npz"))) == 1
    again = held_out_products(queries, batches, held_out, question)
    assert all(torch.equal(a.plain, b.plain) for a, b in zip(first, again, strict=True))
