"""The trainable parameters of a head."""

import pytest
import torch
from torch import nn

from preflens.gram.products.output_head import head_pass
from preflens.gram.readers.base import GradientConsumer, HeadParameters
from preflens.gram.readers.directional import DirectionalDerivatives
from preflens.gram.readers.multi_pass import MultiPassGram
from preflens.gram.readers.owner_search import find_owners
from preflens.gram.readers.single_pass import GramAccumulator
from preflens.gram.readers.stored_gradients import PerResponseGradients
from preflens.gram.training_step.deferred import DeferredGradients
from preflens.types import HeadInput

INDEX = torch.tensor([0, 0, 1])


def case():
    linear = nn.Linear(2, 4).double()
    hidden = torch.randn(3, 2).double()
    return linear, HeadInput(hidden, linear.weight, torch.tensor([1, 3, 0]), INDEX, 2, bias=linear.bias)


@pytest.mark.parametrize("names", [("weight", "bias"), ("weight",), ("bias",)], ids=" ".join)
def test_terms_are_the_gradients_of_the_trainable_parameters(names):
    linear, head = case()
    logps = torch.log_softmax(linear(head.hidden), 1).gather(1, head.targets[:, None])[:, 0]
    expected = {
        name: torch.stack([
            torch.autograd.grad(logps[i == INDEX].sum(), p, retain_graph=True)[0].flatten() for i in (0, 1)
        ])
        for name, p in linear.named_parameters()
    }
    for name, p in linear.named_parameters():
        p.requires_grad_(name in names)
    parameters = HeadParameters(find_owners(linear, dropout=False), head)
    terms = parameters.terms(head_pass(head, parameters.visit).rows)
    assert {p for group in terms for p in group} == {getattr(linear, name) for name in names}
    for name in names:
        torch.testing.assert_close(terms[getattr(linear, name),].dense(), expected[name])


@pytest.mark.parametrize(
    "kind", [DeferredGradients, DirectionalDerivatives, GramAccumulator, MultiPassGram, PerResponseGradients]
)
def test_every_consumer_has_the_same_interface(kind):
    methods = {name for name in vars(GradientConsumer) if name.startswith(("on_", "score_"))}
    assert methods == {"on_forward", "score_head", "on_module", "on_end"}
    assert methods <= set(vars(kind))
