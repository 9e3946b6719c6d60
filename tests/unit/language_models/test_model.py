"""Modes, flags, devices and refusals of a model."""

import pytest
import torch

from preflens.errors import InputError, UnsupportedModelError
from preflens.language_models import model as models
from tests.cases.language_models import tiny_lora, tiny_model


def test_flags_and_modes_are_restored_also_after_an_error():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())
    module[0].weight.requires_grad_(False)
    module[1].eval()

    def fail():
        with models.flags_kept(module) as restore, models.evaluating(module):
            module[0].weight.requires_grad_()
            restore()
            assert not module[0].weight.requires_grad
            assert not module[0].training
            module.requires_grad_()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [p.requires_grad for p in module.parameters()] == [False, True]
    assert [m.training for m in module] == [True, False]


def test_context_length_and_device_are_those_of_the_model():
    assert models.context_length(tiny_model()) == tiny_model().config.n_positions
    assert models.resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="`device=abacus` cannot be used") as caught:
        models.resolve_device("abacus")
    assert caught.value.arguments == ("device",)


def test_a_wrapper_is_taken_off_and_a_model_stays():
    lora, plain = tiny_lora(), tiny_model()
    assert models.without_adapter_wrapper(lora) is lora.get_base_model()
    assert models.without_adapter_wrapper(plain) is plain


def test_experts_without_float64_and_router_losses_are_refused():
    model = tiny_model(dtype=torch.float64)
    models.check_experts(model)
    model.get_experts_implementation = lambda: {"": "grouped_mm"}
    with pytest.raises(UnsupportedModelError, match="takes no float64"):
        models.check_experts(model)
    models.check_rows_are_independent(model)
    model.config.output_router_logits = True
    with pytest.raises(UnsupportedModelError, match="`output_router_logits` on"):
        models.check_rows_are_independent(model)
