"""A layer and an output head, whose log-probs are known with and without the head's own path."""

import torch
from torch import nn

from preflens.types import HeadInput
from tests.support.drawn import drawn

X = drawn(4, 3)
TARGETS = torch.tensor([1, 4, 0, 2])


class HeadModel(nn.Module):
    """Four responses of one token, on the inputs X."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(3, 2).double(), nn.Linear(2, 5).double()

    def head_input(self):
        hidden = torch.tanh(self.layer(X))
        return HeadInput(hidden, self.head.weight, TARGETS, torch.arange(4), responses=4, bias=self.head.bias)

    def logps(self):
        return torch.log_softmax(self.head(torch.tanh(self.layer(X))), 1)[torch.arange(4), TARGETS]
