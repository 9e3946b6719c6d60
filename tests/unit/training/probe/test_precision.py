"""Full precision is switched on and off again, and rounding is estimated."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch

from preflens.language_models.pairs import PreferencePair
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.precision import (
    can_measure_finer,
    full_precision,
    input_embeddings,
    perturbed_last_bit,
    rounding_per_token,
)
from tests.cases.language_models import tiny_model


def test_the_switches_of_tf32_are_put_back(monkeypatch):
    model, settings = tiny_model("llama", dtype=torch.float32), ["high"]
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: settings[-1])
    monkeypatch.setattr(torch, "set_float32_matmul_precision", settings.append)
    with full_precision(model):
        assert settings == ["high", "highest"]
    assert settings == ["high", "highest", "high"]
    settings[:] = ["highest"]
    with full_precision(model):
        pass
    assert settings == ["highest"]


@pytest.mark.parametrize("setting", ["tf32", "none"])
def test_torchs_newer_switch_of_tf32_is_put_back(setting, monkeypatch):
    def mixed():
        raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed)
    matmul = type("Matmul", (), {"fp32_precision": setting})()
    monkeypatch.setattr(torch.backends.cuda, "matmul", matmul)
    with full_precision(tiny_model("llama", dtype=torch.float32)):
        assert matmul.fp32_precision == ("ieee" if setting == "tf32" else "none")
    assert matmul.fp32_precision == setting


@pytest.mark.parametrize(("dtype", "autocast", "finer"), [
    (torch.float32, False, False), (torch.float32, True, True), (torch.bfloat16, True, False),
])  # fmt: skip
def test_weights_are_finer_than_training_where_autocast_rounds_what_float32_weights_give(dtype, autocast, finer):
    context = partial(torch.autocast, "cpu", torch.bfloat16) if autocast else nullcontext
    assert can_measure_finer(torch.nn.Linear(2, 2).to(dtype), context) == finer


def test_every_output_of_perturbed_embeddings_differs_by_one_bit_and_only_inside():
    model = tiny_model("llama", dtype=torch.float32)
    embeddings, ids = input_embeddings(model), torch.arange(3, 9)[None]
    before = embeddings(ids)
    with perturbed_last_bit(embeddings):
        inside = embeddings(ids)
    assert torch.equal(embeddings(ids), before)
    relative = ((inside - before) / before).abs()
    assert bool((relative > 0).all())
    assert float(relative.detach().max()) <= 2.5 * torch.finfo(torch.float32).eps


def test_rounding_per_token_is_the_root_of_the_mean_square_per_token():
    pair = TokenizedPair(PreferencePair("a", "", "", ""), (1,), (2, 3, 4), (5,))  # four scored tokens
    logps = torch.tensor([-1.0, -2.0], dtype=torch.float64)
    perturbed = logps + torch.tensor([0.4, -0.2], dtype=torch.float64)
    assert rounding_per_token(logps, perturbed, [pair]) == pytest.approx(((0.16 + 0.04) / 4) ** 0.5)
