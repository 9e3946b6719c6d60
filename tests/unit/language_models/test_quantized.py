"""Layers that pack their weights, with a stand-in for those of bitsandbytes."""

from types import SimpleNamespace

import pytest
import torch

from preflens.errors import UnsupportedModelError
from preflens.language_models.quantized import kept_from_packing, never_packing

SWITCH = "support_avx512bf16_for_cpu"


def packing(*, packed=False):
    layer = torch.nn.Linear(2, 2)
    layer.support_avx512bf16_for_cpu = True
    layer.weight.quant_state = SimpleNamespace(packing_format_for_cpu=packed)
    return layer


def test_layers_are_kept_from_packing_inside_and_restored():
    layer, model = packing(), torch.nn.Sequential(torch.nn.Linear(2, 2))
    model.append(layer)
    with kept_from_packing(model):
        assert getattr(layer, SWITCH) is False
    assert getattr(layer, SWITCH) is True
    assert never_packing(model) == {layer: True}
    assert getattr(layer, SWITCH) is False


def test_a_layer_that_has_packed_is_named():
    with pytest.raises(UnsupportedModelError, match="`0` .*has packed its weights for inference"):
        never_packing(torch.nn.Sequential(packing(packed=True)))
