"""Which parameters are chosen, and that a model is put back."""

import re

import pytest
import torch

from preflens.language_models.parameters import observing, select_parameters
from tests.cases.language_models import tiny_lora, tiny_model


def names(model, chosen):
    return {n for n, p in model.named_parameters() if any(p is c for c in chosen)}


def test_words_choose_parameters():
    model = tiny_lora()
    everything = {n for n, _ in model.named_parameters()}
    adapter = {n for n in everything if "lora_" in n}
    assert names(model, select_parameters(model, "all")) == everything
    assert names(model, select_parameters(model, "lora")) == adapter
    assert names(model, select_parameters(model, "trainable")) == adapter


def test_a_regular_expression_is_searched_for_in_names():
    model = tiny_model()
    chosen = names(model, select_parameters(model, r"h\.1\.(attn|mlp)"))
    assert chosen
    assert all(n.startswith("transformer.h.1.") for n in chosen)


def test_tied_weights_are_found_under_each_of_their_names():
    model = tiny_model()
    assert select_parameters(model, "lm_head") == {model.transformer.wte.weight}


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("nothing_like_it", "`trainable=nothing_like_it` chooses no parameter.*`transformer.wte.weight`"),
        ("lora", "`trainable=lora` chooses no parameter"),
        ("(", "`trainable=(` is none of trainable, all, lora, and no regular expression"),
    ],
)
def test_an_expression_that_chooses_nothing_is_refused(expression, message):
    with pytest.raises(ValueError, match=re.escape(message).replace(r"\.\*", ".*")):
        select_parameters(tiny_model(), expression)


@pytest.mark.parametrize("fails", [False, True])
def test_observing_puts_modes_and_flags_back_also_after_an_error(fails):
    model = tiny_model().train()
    model.transformer.h[0].eval()
    model.transformer.wpe.weight.requires_grad_(False)
    modes = [m.training for m in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    try:
        with observing(model, "ln_f"):
            assert not any(m.training for m in model.modules())
            assert {n for n, p in model.named_parameters() if p.requires_grad} == {
                "transformer.ln_f.weight", "transformer.ln_f.bias",
            }  # fmt: skip
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == flags


def test_observing_changes_nothing_when_no_parameter_matches():
    model = tiny_model().train()
    with pytest.raises(ValueError, match="chooses no parameter"), observing(model, "nothing"):
        pass
    assert model.training


def test_quantised_weights_are_not_chosen():
    model = torch.nn.Linear(2, 2)
    model.codes = torch.nn.Parameter(torch.zeros(2, dtype=torch.uint8), requires_grad=False)
    assert select_parameters(model, "all") == {model.weight, model.bias}
