"""Changes along updates that are made a few rows at a time."""

import pytest
import torch
from torch import nn

from preflens.gram.capture.forward import ForwardOutput
from preflens.gram.capture.taps import taps
from preflens.gram.readers.collector import Collector
from preflens.gram.readers.first_order_changes import changes_along_updates
from preflens.gram.readers.owner_search import find_owners
from preflens.gram.readers.stored_gradients import PerResponseGradients, per_response_gradients
from tests.cases.layers import Quadratic
from tests.support.drawn import drawn

X = drawn(4, 9, 3)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.unknown, self.out = nn.Linear(3, 3).double(), Quadratic(3).double(), nn.Linear(3, 1).double()

    def forward(self):
        return self.out(torch.tanh(self.unknown(torch.tanh(self.layer(X))))).sum((1, 2))


def slopes(model, updates):
    rows = [torch.autograd.grad(v, list(model.parameters()), retain_graph=True) for v in model()]
    return torch.tensor([[sum((g * u).sum() for g, u in zip(row, update, strict=True)) for row in rows]
                         for update in updates]).double()  # fmt: skip


@pytest.mark.parametrize("part", [1 << 19, 4], ids=["whole", "in parts"])
def test_changes_are_the_products_of_all_gradients_with_all_updates(part, monkeypatch):
    monkeypatch.setattr("preflens.gram.products.along_updates._PART", part)
    model = Model()
    updates = [[torch.randn_like(p) for p in model.parameters()] for _ in range(2)]
    of = {p: [update[k] for update in updates] for k, p in enumerate(model.parameters())}
    gradients = per_response_gradients(model, model.forward)
    (changes,) = changes_along_updates([gradients], lambda p, rows: [u[rows] for u in of[p]], directions=2)
    torch.testing.assert_close(changes, slopes(model, updates))


def test_gradients_of_a_training_step_are_freed_from_its_coefficients_and_pending_products_are_found():
    model, c = Model(), torch.tensor([2.0, -1.0, 0.5, 4.0]).double()
    expected = per_response_gradients(model, model.forward).pair_gram()
    owners = find_owners(model, dropout=False)
    gradients = PerResponseGradients(owners, equal_inputs=True, pin=False, later=True)
    collector = Collector(owners, gradients)
    with taps(owners.recognizers(), collector.receive, force=False) as state:
        collector.state = state
        output = model()
        collector.end_forward(4)
        gradients.on_forward(ForwardOutput(output))
        gradients.accumulator.coefficients = c
        (c * output).sum().backward()
        collector.end_backward()
        gradients.on_end()
    update = [torch.randn_like(p) for p in model.parameters()]
    of = dict(zip(model.parameters(), update, strict=True))
    (changes,) = changes_along_updates([gradients], lambda p, rows: [of[p][rows]], directions=1)
    assert not gradients.pending
    torch.testing.assert_close(changes, slopes(model, [update]))
    torch.testing.assert_close(gradients.pair_gram().inner_product, expected.inner_product)
