"""Which parameters are an adapter's, and adapters that do not belong to the model they are put on."""

import json
import re
import shutil

import peft
import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from preflens import load_model
from preflens.errors import InputError
from preflens.language_models.adapters import put_adapter
from preflens.language_models.parameters import select_parameters
from tests.cases.language_models import MENAGERIE, tiny_lora, tiny_model

TARGETS = ["q_proj", "v_proj"]
# By what is put on a tiny llama (qwen2 where there are to be biases), what training it trains by PEFT's own account.
ADAPTERS = {
    "lora": ("LoraConfig", {}),
    "dora": ("LoraConfig", {"use_dora": True}),
    "copies of modules": ("LoraConfig", {"modules_to_save": ["lm_head", "embed_tokens"]}),
    "rows of the embedding": ("LoraConfig", {"trainable_token_indices": [3, 4]}),
    "the embedding": ("LoraConfig", {"target_modules": ["embed_tokens", "q_proj"]}),
    "biases of its layers": ("LoraConfig", {"bias": "lora_only"}),
    "all biases": ("LoraConfig", {"bias": "all"}),
    "some layers": ("LoraConfig", {"layers_to_transform": [0]}),
    "experts": ("LoraConfig", {"target_modules": None, "target_parameters": ["mlp.experts.gate_up_proj"]}),
    "loha": ("LoHaConfig", {}),
    "ia3": ("IA3Config", {"feedforward_modules": []}),
    "vera": ("VeraConfig", {"target_modules": ["v_proj"]}),
}


def adapted(name):
    kind, changes = ADAPTERS[name]
    config = getattr(peft, kind)(**({"task_type": "CAUSAL_LM", "target_modules": TARGETS} | changes))
    base = "mixtral" if name == "experts" else "qwen2" if "biases" in name else "llama"
    return get_peft_model(tiny_model(base), config)


@pytest.mark.parametrize("name", ADAPTERS)
def test_lora_chooses_what_peft_trains_whatever_is_frozen_now(name):
    model = adapted(name)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    model.requires_grad_(False)
    chosen = select_parameters(model, "lora")
    assert {n for n, p in model.named_parameters() if p in chosen} == trained


def test_lora_leaves_the_copy_out_that_trl_keeps_as_a_reference():
    model = tiny_lora(modules_to_save=["lm_head"])
    before = select_parameters(model, "lora")
    model.add_adapter("ref", model.peft_config["default"])
    assert select_parameters(model, "lora") == before


def test_a_model_without_an_adapter_has_none_of_its_parameters():
    with pytest.raises(InputError, match="`trainable=lora` chooses no parameter"):
        select_parameters(MENAGERIE["gpt2"](), "lora")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model, and adapters of it."""
    folder = tmp_path_factory.mktemp("saved")
    tiny_model("llama", dtype=torch.float32).save_pretrained(folder / "model")
    tiny_lora(dtype=torch.float32).save_pretrained(folder / "adapter")
    tiny_lora(dtype=torch.float32, modules_to_save=["lm_head"]).save_pretrained(folder / "with copies")
    return folder


def changed(folder, change, to):
    """A copy of an adapter with other weights."""
    shutil.copytree(folder, to)
    weights = load_file(to / "adapter_model.safetensors")
    change(weights)
    save_file(weights, to / "adapter_model.safetensors", metadata={"format": "pt"})
    return str(to)


@pytest.mark.parametrize("name", ["adapter", "with copies"])
def test_an_adapter_that_belongs_has_the_weights_of_its_file_and_is_trainable(saved, name):
    loaded = load_model(str(saved / "model"), adapter=str(saved / name), device="cpu")
    base = tiny_model("llama", dtype=torch.float32)
    expected = PeftModel.from_pretrained(base, saved / name, is_trainable=True)
    for (n, p), (_, q) in zip(loaded.named_parameters(), expected.named_parameters(), strict=True):
        assert torch.equal(p, q), n
        assert p.requires_grad == q.requires_grad, n


A_MATRIX = "base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight"


@pytest.mark.parametrize("key", [A_MATRIX, A_MATRIX.replace("lora_A", "lora_B")])
def test_weights_that_an_adapter_lacks_are_named(saved, tmp_path, key):
    folder = changed(saved / "adapter", lambda weights: weights.pop(key), tmp_path / "x")
    name = key.replace(".weight", ".default.weight")
    with pytest.raises(
        InputError, match=re.escape(f"`{folder}` does not belong to this model. It has no weights for `{name}`")
    ):
        put_adapter(tiny_model("llama", dtype=torch.float32), folder)


def test_a_copied_module_that_an_adapter_lacks_is_named(saved, tmp_path):
    folder = changed(saved / "with copies", lambda w: w.pop("base_model.model.lm_head.weight"), tmp_path / "x")
    with pytest.raises(
        InputError, match="cannot be loaded on this model: `base_model.model.lm_head.weight` is missing"
    ):
        put_adapter(tiny_model("llama", dtype=torch.float32), folder)


def test_weights_that_the_model_has_no_place_for_are_named(saved, tmp_path):
    key = "base_model.model.model.layers.0.self_attn.o_proj.lora_A.weight"
    folder = changed(saved / "adapter", lambda weights: weights.update({key: torch.zeros(2, 16)}), tmp_path / "x")
    with pytest.raises(InputError, match=f"weights that the model has no place for: `{key}`"):
        put_adapter(tiny_model("llama", dtype=torch.float32), folder)


def test_an_adapter_of_a_model_with_other_layers_or_another_width_is_refused(saved):
    adapter = str(saved / "adapter")
    with pytest.raises(InputError, match=r"no weights for `.*layers\.2\..*lora_A.*` and 5 more"):
        put_adapter(tiny_model("llama", num_hidden_layers=3), adapter)
    with pytest.raises(InputError, match=r"no place for: `.*layers\.1\..*` and 5 more"):
        put_adapter(tiny_model("llama", num_hidden_layers=1), adapter)
    with pytest.raises(InputError, match=r"cannot be loaded on this model: size mismatch for .*\[2, 16\].*\[2, 32\]"):
        put_adapter(tiny_model("llama", hidden_size=32), adapter)
    with pytest.raises(InputError, match="cannot be loaded on this model: .*arget modules"):
        put_adapter(tiny_model("gpt2"), adapter)


def test_an_adapter_for_classification_is_refused(saved, tmp_path):
    folder = changed(
        saved / "adapter", lambda w: w.update({"base_model.model.score.weight": torch.zeros(1, 16)}), tmp_path / "x"
    )
    config = json.loads((tmp_path / "x" / "adapter_config.json").read_text())
    (tmp_path / "x" / "adapter_config.json").write_text(json.dumps(config | {"task_type": "SEQ_CLS"}))
    with pytest.raises(InputError, match="does not belong to this model|cannot be loaded on this model"):
        put_adapter(tiny_model("llama", dtype=torch.float32), folder)


def test_a_truncated_adapter_is_refused(saved, tmp_path):
    shutil.copytree(saved / "adapter", tmp_path / "cut")
    file = tmp_path / "cut" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="The adapter `.*cut` cannot be loaded on this model: .*not fully covered"):
        put_adapter(tiny_model("llama"), str(tmp_path / "cut"))


def test_an_adapter_loads_with_biases_that_are_in_no_file(tmp_path):
    """PEFT saves no bias of `lora_only`; the base's own stay."""
    model = tiny_lora(dtype=torch.float32, kind="qwen2", bias="lora_only", target_modules=TARGETS)
    model.save_pretrained(tmp_path)
    loaded = put_adapter(tiny_model("qwen2", dtype=torch.float32), str(tmp_path))
    assert not any(bool(p.isnan().any()) for p in loaded.parameters())


def test_a_configuration_that_is_no_object_is_one_line(saved, tmp_path):
    folder = shutil.copytree(saved / "adapter", tmp_path / "list")
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(InputError, match="cannot be loaded on this model"):
        put_adapter(tiny_model("llama"), str(folder))
