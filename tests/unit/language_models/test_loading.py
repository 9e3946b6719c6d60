"""Models, tokenizers, adapters and devices: what loads, and what is said about the rest."""

import json

import pytest
import torch

from preflens import load_model, load_tokenizer
from preflens.language_models.fingerprints import model_fingerprint, pairs_fingerprint
from preflens.language_models.loading import load_reference
from preflens.language_models.model import adapter_off, context_length, resolve_device
from preflens.language_models.pairs import PreferencePair
from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders: a model with tokenizer, an adapter on it."""
    folder = tmp_path_factory.mktemp("saved")
    tiny_model("llama", dtype=torch.float32).save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    tiny_lora(dtype=torch.float32).save_pretrained(folder / "adapter")
    return folder


def test_a_saved_model_and_tokenizer_load(saved):
    model = load_model(str(saved / "model"), device="cpu")
    assert not model.training
    assert model.dtype == torch.float32
    assert load_tokenizer(str(saved / "model"))("the sky")["input_ids"] == tiny_tokenizer()("the sky")["input_ids"]
    assert load_model(str(saved / "model"), dtype="bfloat16", device="cpu").dtype == torch.bfloat16


def test_an_adapter_loads_trainable_and_can_be_switched_off(saved):
    model = load_model(str(saved / "model"), adapter=str(saved / "adapter"), device="cpu")
    assert any(p.requires_grad for n, p in model.named_parameters() if "lora_" in n)
    base, ids = load_model(str(saved / "model"), device="cpu"), torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert not torch.allclose(model(ids).logits, base(ids).logits)
        with adapter_off(model):
            assert torch.equal(model(ids).logits, base(ids).logits)


def test_reference_words_stay_words_and_names_are_loaded(saved):
    assert [load_reference(w) for w in ("self", "none", "adapter-off")] == ["self", "none", "adapter-off"]
    assert load_reference(str(saved / "model"), device="cpu").config.model_type == "llama"


def test_adapter_off_needs_an_adapter():
    with pytest.raises(ValueError, match="needs a model with an adapter"), adapter_off(tiny_model()):
        pass


def test_context_length_is_read_from_any_configuration():
    assert context_length(tiny_model()) == context_length(tiny_lora()) == 96


def test_a_chat_template_file_replaces_the_tokenizers(saved, tmp_path):
    (tmp_path / "t.jinja").write_text("hello")
    assert load_tokenizer(str(saved / "model"), chat_template=tmp_path / "t.jinja").chat_template == "hello"
    with pytest.raises(ValueError, match="chat template `.*none.jinja` cannot be read"):
        load_tokenizer(str(saved / "model"), chat_template=tmp_path / "none.jinja")


def test_what_is_no_model_is_named(saved, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    for name, message in {
        str(tmp_path / "empty"): "holds no model: config.json is missing. Found notes.txt",
        str(tmp_path / "nowhere"): "There is no folder `.*nowhere` to load a model from",
        "nobody/nothing": "The model `nobody/nothing` cannot be loaded",
    }.items():
        with pytest.raises(ValueError, match=message):
            load_model(name)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text(json.dumps(tiny_model("llama").config.to_dict()))
    with pytest.raises(ValueError, match="The model `.*half` cannot be loaded"):
        load_model(str(tmp_path / "half"))
    with pytest.raises(ValueError, match="The tokenizer of `.*half` cannot be loaded"):
        load_tokenizer(str(tmp_path / "half"))
    with pytest.raises(ValueError, match="holds no adapter: adapter_config.json is missing"):
        load_model(str(saved / "model"), adapter=str(saved / "model"))


def test_an_adapter_in_a_pickle_is_not_loaded(saved, tmp_path):
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "adapter_config.json").write_text((saved / "adapter" / "adapter_config.json").read_text())
    torch.save({}, folder / "adapter_model.bin")
    with pytest.raises(ValueError, match="holds no adapter_model.safetensors; other formats are not loaded"):
        load_model(str(saved / "model"), adapter=str(folder))


def test_a_model_in_a_pickle_is_not_loaded(tmp_path):
    model = tiny_model("llama", dtype=torch.float32)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be loaded.*safetensors"):
        load_model(str(tmp_path))


def test_devices_that_are_not_there_are_named():
    assert resolve_device("auto").type in {"cpu", "cuda"}
    with pytest.raises(ValueError, match="`--device quantum` cannot be used"):
        resolve_device("quantum")


def test_model_fingerprint_changes_with_any_weight_and_with_nothing_else():
    model = tiny_model()
    before = model_fingerprint(model)
    assert before == model_fingerprint(tiny_model())
    with torch.no_grad():
        model.transformer.ln_f.bias[0] += 1e-12
    assert model_fingerprint(model) != before
    assert model_fingerprint(tiny_model(dtype=torch.bfloat16)) != before


def test_pairs_fingerprint_changes_with_text_id_and_order():
    a, b = PreferencePair("1", "p", "c", "r"), PreferencePair("2", "p", "c", "r")
    found = {pairs_fingerprint(p) for p in ([a], [b], [a, b], [b, a], [PreferencePair("1", "p", "c ", "r")])}
    assert len(found) == 5
