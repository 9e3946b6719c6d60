"""Models, tokenizers, adapters and devices: what loads, and what is said about the rest."""

import json
import re
import shutil

import pytest
import torch

from preflens import load_model, load_tokenizer
from preflens.errors import InputError
from preflens.language_models.fingerprints import model_fingerprint, pairs_fingerprint
from preflens.language_models.loading import load_reference
from preflens.language_models.model import context_length, resolve_device
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.references import adapter_off
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
    words = ["self", "none", "adapter-off", "adapter-copy"]
    assert [load_reference(word) for word in words] == words
    assert load_reference(str(saved / "model"), device="cpu").config.model_type == "llama"


def test_another_adapter_on_the_same_model_can_be_the_reference(saved):
    model, adapter = str(saved / "model"), str(saved / "adapter")
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        found = load_reference(adapter, base=model, device="cpu")(ids).logits
        assert torch.equal(found, load_model(model, adapter=adapter, device="cpu")(ids).logits)


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


def test_an_adapter_in_place_of_a_model_is_told_what_it_is(saved, tmp_path):
    shutil.copytree(saved / "adapter", tmp_path / "x")
    for base, said in ((None, "trained on as"), ("the/base", "trained on (it says `the/base`) as")):
        config = json.loads((tmp_path / "x" / "adapter_config.json").read_text()) | {"base_model_name_or_path": base}
        (tmp_path / "x" / "adapter_config.json").write_text(json.dumps(config))
        needed = f"Pass the model that it was {said} `--model`, and `--adapter {tmp_path / 'x'}`"
        with pytest.raises(InputError, match=re.escape(f"x` holds an adapter, not a whole model. {needed}")):
            load_model(str(tmp_path / "x"))


def test_an_adapter_that_transformers_would_put_on_its_base_by_itself_is_not_taken_for_a_model(saved, tmp_path):
    """With a config.json beside it, and so it is with an adapter on the hub, whose files are not known before."""
    shutil.copytree(saved / "model", tmp_path / "x")
    shutil.copytree(saved / "adapter", tmp_path / "x", dirs_exist_ok=True)
    config = json.loads((tmp_path / "x" / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(saved / "model")
    (tmp_path / "x" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="holds an adapter, not a whole model"):
        load_model(str(tmp_path / "x"), device="cpu")


@pytest.mark.parametrize("cut", [10, 5000, -100])
def test_a_truncated_model_is_refused(saved, tmp_path, cut):
    shutil.copytree(saved / "model", tmp_path / "cut")
    file = tmp_path / "cut" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(InputError, match="The model `.*cut` cannot be loaded: "):
        load_model(str(tmp_path / "cut"), device="cpu")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_truncated_tokenizer_is_refused(saved, tmp_path, name):
    shutil.copytree(saved / "model", tmp_path / "cut")
    file = tmp_path / "cut" / name
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="The tokenizer of `.*cut` cannot be loaded: "):
        load_tokenizer(str(tmp_path / "cut"))


def test_a_tokenizer_of_no_known_kind_is_refused(saved, tmp_path):
    """What the tokenizers library raises then is an exception of no class of its own."""
    shutil.copytree(saved / "model", tmp_path / "x")
    file = tmp_path / "x" / "tokenizer.json"
    file.write_text(file.read_text().replace('"BPE"', '"BPX"'))
    with pytest.raises(InputError, match="The tokenizer of `.*x` cannot be loaded: data did not match any variant"):
        load_tokenizer(str(tmp_path / "x"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"num_hidden_layers": 4},
            r"its file has no `model.layers.2.input_layernorm.weight` and 17 more, where random",
        ),
        (
            {"intermediate_size": 40},
            r"`model.layers.*` has the shape \[.*24.*\] in its file, and \[.*40.*\] by its config",
        ),
    ],
)
def test_weights_that_would_be_drawn_at_random_are_refused(saved, tmp_path, changes, message):
    shutil.copytree(saved / "model", tmp_path / "x")
    config = json.loads((tmp_path / "x" / "config.json").read_text()) | changes
    (tmp_path / "x" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"The model `.*x` cannot be loaded: {message}"):
        load_model(str(tmp_path / "x"), device="cpu")


@pytest.mark.parametrize("tied", [False, True])
def test_tied_weights_that_are_in_no_file_are_none_that_are_missing(tmp_path, tied):
    tiny_model("llama", dtype=torch.float32, tie_word_embeddings=tied).save_pretrained(tmp_path)
    model = load_model(str(tmp_path), device="cpu")
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied


def test_experts_load_in_float64_in_a_way_that_computes_in_float64(tmp_path):
    plain = tiny_model("mixtral", dtype=torch.float32)
    plain.save_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7, 8]])
    model = load_model(str(tmp_path), dtype="float64", device="cpu")
    with torch.no_grad():
        found = model(ids).logits
        assert found.dtype == torch.float64
        torch.testing.assert_close(found.float(), plain(ids).logits, rtol=1e-4, atol=1e-4)


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
    with pytest.raises(ValueError, match="`device=quantum` cannot be used"):
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
