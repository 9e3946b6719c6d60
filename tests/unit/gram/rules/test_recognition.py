"""Which rule a call gets."""

import pytest
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from preflens.gram.capture.calls import CHANGED, Keep, ModuleCall
from preflens.gram.capture.taps import TapState
from preflens.gram.rules import LAYER_RULES, recognize, recognizer_of
from preflens.gram.rules.any_module import any_module
from preflens.gram.rules.linear import linear
from preflens.gram.rules.norm import norm
from tests.cases.layers import LinearByAnotherName, Quadratic
from tests.support.drawn import drawn

X = drawn(2, 4).float()


def call_of(module):
    return ModuleCall(module, (X,), {}, (module(X).detach(),))


@pytest.mark.parametrize(
    ("module", "rule", "keep"),
    [
        (nn.Linear(4, 3), linear, Keep.NOTHING),
        (LinearByAnotherName(4, 3), linear, Keep.NOTHING),
        (LlamaRMSNorm(4), norm, Keep.ALIAS),
        (Quadratic(4), any_module, Keep.COPY),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_call_is_recognized_by_class_then_by_numbers_then_as_a_whole(module, rule, keep):
    reading = recognize(call_of(module), TapState(None))
    assert (reading.rule, reading.keep) == (rule, keep)


def test_a_norm_whose_output_is_changed_in_place_keeps_none():
    module = LlamaRMSNorm(4)
    CHANGED.add(module)
    assert recognize(call_of(module), TapState(None)).keep is Keep.NOTHING


def test_rules_of_the_user_come_first_by_exact_class():
    class Child(nn.Linear):
        pass

    def mine(call, context):
        return []

    state = TapState(None)
    for whole in (False, True):
        find = recognizer_of(nn.Linear(4, 3), whole=whole, rules={nn.Linear: mine})
        assert find(call_of(nn.Linear(4, 3)), state).rule is mine
    child = Child(4, 3)
    assert recognizer_of(child, whole=False, rules={nn.Linear: mine})(call_of(child), state).rule is linear
    assert recognizer_of(child, whole=True, rules={})(call_of(child), state).rule is any_module


def test_the_table_names_classes_and_no_subclass_of_another_entry():
    kinds = list(LAYER_RULES)
    assert all(not issubclass(one, other) for one in kinds for other in kinds if one is not other)
