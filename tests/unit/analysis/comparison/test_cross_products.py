"""Products of update batches with held-out gradients are those of whole gradients and of a real optimizer's step."""

import pytest
import torch

from preflens.analysis.comparison.cross_products import cross_products
from preflens.gram.brute_force import values_of
from preflens.gram.readers.stored_gradients import per_response_gradients
from preflens.optimizers.first_update import FirstUpdate
from preflens.optimizers.settings import NAMES, OptimizerSettings
from tests.cases.language_models import MENAGERIE, tiny_model
from tests.support.grams import batch_of, forward_of
from tests.support.rows import tokenized


def whole_gradients(model, forwards):
    parameters = [p for p in model.parameters() if p.requires_grad]
    values = torch.cat([values_of(forward) for forward in forwards])
    rows = [torch.autograd.grad(v, parameters, retain_graph=True, materialize_grads=True) for v in values]
    return torch.stack([torch.cat([g.flatten() for g in row]).double() for row in rows])


@pytest.mark.parametrize(
    ("kind", "name"),
    [*((kind, "adamw") for kind in MENAGERIE), *(("llama", name) for name in NAMES if name != "adamw")],
)
def test_products_are_those_of_whole_gradients_and_of_the_real_step(kind, name):
    model = MENAGERIE[kind]()
    pairs = tokenized()
    forwards = [forward_of(model, batch_of(part)) for part in (pairs[:1], pairs[1:2], pairs[2:])]
    kept = [per_response_gradients(model, forward) for forward in forwards]
    weights = torch.tensor([[0.3, 0.2, -0.4, -0.1], [0.02, 0.01, 0.0, -0.01]], dtype=torch.float64)
    settings = OptimizerSettings(name, learning_rate=1e-3, weight_decay=0.0 if name == "plain" else 0.1)
    none = torch.zeros(0, 2, dtype=torch.float64)
    found, first = cross_products([kept[:2], kept[:1]], kept[2:], [weights, none], FirstUpdate(model, settings))
    assert torch.allclose(first.plain, found.plain[:2])
    assert first.updates.shape == (0, len(found.plain[0]))
    own, other = whole_gradients(model, forwards[:2]), whole_gradients(model, forwards[2:])
    scale = own.norm(dim=1)[:, None] * other.norm(dim=1)
    assert ((found.plain - own @ other.T).abs() <= 1e-6 * scale).all()
    for k, w in enumerate(weights):
        step = real_update(model, settings, -(w @ own))
        size = step.norm() * other.norm(dim=1)
        assert ((found.updates[k] + found.decay[k] - other @ step).abs() <= 1e-4 * size).all()


def real_update(model, settings, gradient):
    parameters = [p for p in model.parameters() if p.requires_grad]
    decayed = {id(p) for p in FirstUpdate(model, settings)._decayed}
    copies = [torch.nn.Parameter(p.detach().double().clone()) for p in parameters]
    for copy, part in zip(copies, gradient.split([p.numel() for p in parameters]), strict=True):
        copy.grad = part.reshape(copy.shape).clone()
    groups = [
        {"params": [c for c, p in zip(copies, parameters, strict=True) if (id(p) in decayed) == yes],
         "weight_decay": settings.weight_decay if yes else 0.0}
        for yes in (True, False)
    ]  # fmt: skip
    settings.make([g for g in groups if g["params"]]).step()
    return torch.cat([(c.detach() - p.detach()).flatten() for c, p in zip(copies, parameters, strict=True)])


def test_without_an_optimizer_only_plain_products_are_formed():
    model = tiny_model()
    kept = [per_response_gradients(model, forward_of(model, batch_of([pair]))) for pair in tokenized()[:2]]
    (found,) = cross_products([kept[:1]], kept[1:], [torch.zeros(0, 2, dtype=torch.float64)], None)
    assert found.plain.shape == (2, 2)
    assert found.updates.shape == (0, 2)
