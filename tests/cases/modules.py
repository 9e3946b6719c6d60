"""Small awkward modules whose rows have a scalar: nothing about language."""

import torch
from torch import nn


class Reused(nn.Module):
    """One layer called twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.layer(torch.tanh(self.layer(x))))).squeeze(-1)


class Tied(nn.Module):
    """Input embedding and output head share their weight."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        return torch.log_softmax(self.head(torch.tanh(self.embedding(ids)).mean(1)), -1)[:, 0]


class Branches(nn.Module):
    """A frozen layer, a layer that is never used, and a numbered list."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.unused = nn.Linear(4, 4)
        self.out = nn.Linear(4, 1, bias=False)

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.out(self.frozen(x)).squeeze(-1)


def module_cases(dtype, device):
    """Name → (module, forward) with three pairs each; `forward(order)` takes the rows in another order."""
    x = torch.randn(6, 4, dtype=dtype, device=device)
    ids = torch.randint(6, (6, 3), device=device)
    inputs = {"reused": (Reused(), x), "tied": (Tied(), ids), "branches": (Branches(), x)}
    cases = {}
    for name, (module, given) in inputs.items():
        module.to(device=device, dtype=dtype)
        cases[name] = (module, lambda order=slice(None), module=module, given=given: module(given[order]))
    return cases
