"""What an audit compares, and what it remembers."""

import pytest
from torch import nn

from preflens.errors import AuditError, UnreadableGradientError
from preflens.gram.products.modes import PairMode
from preflens.gram.readers.audit import audit, audited
from preflens.gram.readers.backward import run_pass
from preflens.gram.readers.owner_search import find_owners
from preflens.gram.readers.single_pass import GramAccumulator
from tests.support.drawn import drawn

X = drawn(4, 2)


def case(module, change=lambda _: None):
    def forward():
        return module(X).squeeze(1)

    owners = find_owners(module, dropout=False)
    accumulator = GramAccumulator(owners, PairMode, equal_inputs=True)
    report = run_pass(owners, forward, accumulator, strict=False)
    change(accumulator)
    return owners, forward, accumulator, report


def model():
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()


def test_correct_products_pass_and_are_remembered_for_these_parameters_and_this_code():
    module = model()
    owners, forward, accumulator, report = case(module)
    assert not audited(module, owners, forward)
    audit(module, owners, forward, accumulator=accumulator, report=report)
    assert audited(module, owners, forward)
    assert not audited(module, owners, lambda: module(X).squeeze(1))  # other code
    module[0].requires_grad_(False)
    assert not audited(module, find_owners(module, dropout=False), forward)
    assert not audited(module, find_owners(module, dropout=False, rules={nn.Linear: print}), forward)


@pytest.mark.parametrize("entry", [0, 1, 2])
def test_any_product_that_is_off_by_a_permille_of_the_norms_fails(entry):
    def change(accumulator):
        products = accumulator.products[0][:, 0]
        chosen, rejected = products[:2].sqrt()
        products[entry] += 1e-3 * (chosen**2, rejected**2, chosen * rejected)[entry]

    module = model()
    owners, forward, accumulator, report = case(module, change)
    with pytest.raises(AuditError, match="gradient products of `0` differ from autograd's"):
        audit(module, owners, forward, accumulator=accumulator, report=report)
    assert not audited(module, owners, forward)


def test_a_parameter_that_is_used_and_not_covered_is_named():
    class Bypassed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 1).double()

        def forward(self, x):
            return nn.functional.linear(x, self.layer.weight)

    module = Bypassed()
    owners, forward, accumulator, report = case(module)
    with pytest.raises(UnreadableGradientError, match="Parameter `layer.weight` influences the log-probs") as error:
        audit(module, owners, forward, accumulator=accumulator, report=report)
    assert list(error.value.parameters) == [module.layer.weight]
