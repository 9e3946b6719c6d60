"""What tells two runs apart, the same in every process."""

from types import SimpleNamespace

import torch

from preflens.language_models.fingerprints import adapter_fingerprint, configuration_fingerprint, tokens_fingerprint
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.tokenizing import TokenizedPair
from tests.cases.language_models import tiny_lora, tiny_model


def fingerprint(**entries):
    return configuration_fingerprint(SimpleNamespace(to_dict=lambda: entries))


def test_a_configuration_is_told_by_its_values_and_not_by_paths_or_the_order_of_sets():
    """Sets of texts are in another order in every process."""
    names = [f"layer {i}" for i in range(50)]
    assert fingerprint(targets=set(names)) == fingerprint(targets=sorted(names))
    assert fingerprint(a=1, _name_or_path="x") == fingerprint(a=1, _name_or_path="y") == fingerprint(a=1)
    assert len({fingerprint(a=1), fingerprint(a=1.5), fingerprint(a={"b": 1}), fingerprint(a={"b": 2})}) == 4


def test_the_configuration_of_a_model_and_of_an_adapter_can_be_told():
    model, softer = tiny_model("gemma2"), tiny_model("gemma2")
    softer.config.final_logit_softcapping = 5.0
    assert configuration_fingerprint(model.config) != configuration_fingerprint(softer.config)
    one, other = (tiny_lora(lora_alpha=alpha).peft_config["default"] for alpha in (4, 5))
    assert configuration_fingerprint(one) != configuration_fingerprint(other)


def test_an_adapter_is_told_by_each_of_its_weights_and_not_by_the_models():
    model = tiny_lora(modules_to_save=["lm_head"])
    before = adapter_fingerprint(model)
    mine = {n for n, p in model.named_parameters() if "lora_" in n or "modules_to_save" in n}
    assert len(mine) == 13  # A and B of three modules in two layers, and the head
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            old = parameter.flatten()[0].clone()
            parameter.view(-1)[0] += 1
            assert (adapter_fingerprint(model) != before) == (name in mine), name
            parameter.view(-1)[0] = old
    assert adapter_fingerprint(model) == before
    assert adapter_fingerprint(tiny_model()) == adapter_fingerprint(tiny_model(seed=1))


def test_tokens_are_told_by_their_ids_places_and_order():
    def pair(name="a", prompt=(1,), chosen=(2,), rejected=(3,)):
        return TokenizedPair(PreferencePair(name, "p", "c", "r"), prompt, chosen, rejected)

    kinds = [
        [pair()], [pair("b")], [pair(prompt=(1, 2), chosen=())], [pair(chosen=(3,), rejected=(2,))],
        [pair(), pair("b")], [pair("b"), pair()],
    ]  # fmt: skip
    assert len({tokens_fingerprint(pairs) for pairs in kinds}) == len(kinds)
