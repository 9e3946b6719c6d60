"""Where reference log-probs come from: TRL's own reference, and a model that is left as it was."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from preflens.errors import InputError
from preflens.language_models import references
from preflens.language_models.batch import PairBatch
from preflens.language_models.logps import response_logps
from preflens.language_models.references import adapter_copied, adapter_off, as_reference, is_policy, trl_reference
from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS
from tests.cases.training import make_trainer
from tests.support.options import flat_analyze

ADAPTERS = {
    "lora": {},
    "dora": {"use_dora": True},
    "copies of modules": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "rows of the embedding": {"trainable_token_indices": [*range(40, 60), *range(280, 316)]},
    "the embedding": {"target_modules": ["q_proj", "embed_tokens"]},
}
# Parts of these are left out of the copy that TRL 1.16 makes.
IN_PART = {"rows of the embedding", "the embedding"}


def trained(name, **changes):
    """An adapter that has been trained: nothing of it is as in a new one."""
    model = tiny_lora(dtype=torch.float32, **(ADAPTERS[name] | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch_of(trainer):
    inputs = next(iter(trainer.get_train_dataloader()))
    return inputs, PairBatch(inputs["input_ids"], inputs["attention_mask"].bool(), inputs["completion_mask"].bool())


def logps(model, batch):
    with torch.no_grad():
        return response_logps(model, batch)


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_default_is_the_reference_that_trl_scores_with_when_it_goes_on_from_an_adapter(name, tmp_path):
    model = trained(name)
    ours = copy.deepcopy(model)
    trainer = make_trainer(tmp_path, model=model)
    inputs, batch = batch_of(trainer)
    expected = torch.cat(trainer.compute_ref_log_probs(trainer.model, inputs))
    with as_reference(ours, trl_reference(ours)) as reference:
        found = logps(reference, batch)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    whole = name not in IN_PART
    assert is_policy(ours, trl_reference(ours)) is whole
    assert torch.allclose(logps(ours, batch), expected, atol=1e-4) is whole


def test_a_run_with_a_new_adapter_has_the_model_without_it_for_reference(tmp_path):
    config = LoraConfig(r=2, target_modules=["q_proj"])
    trainer = make_trainer(tmp_path, model=tiny_model("llama", dtype=torch.float32), peft_config=config)
    with torch.no_grad():  # as after some steps
        for n, p in trainer.model.named_parameters():
            if "lora_B" in n:
                p.normal_(std=0.1)
    inputs, batch = batch_of(trainer)
    expected = torch.cat(trainer.compute_ref_log_probs(trainer.model, inputs))
    with as_reference(trainer.model, "adapter-off") as reference:
        torch.testing.assert_close(logps(reference, batch), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logps(trainer.model, batch), expected, atol=1e-4)


def test_the_words_follow_the_model():
    assert trl_reference(tiny_model()) == "self"
    assert trl_reference(tiny_lora()) == "adapter-copy"


def test_old_versions_of_peft_cannot_copy_adapters_on_parameters(monkeypatch):
    config = LoraConfig(target_modules=None, target_parameters=["mlp.experts.gate_up_proj"])
    model = get_peft_model(tiny_model("mixtral"), config)
    assert trl_reference(model) == "adapter-copy"
    monkeypatch.setattr(references, "version", lambda _: "0.19.1")
    assert trl_reference(model) == "adapter-off"
    assert trl_reference(tiny_lora()) == "adapter-copy"


@pytest.mark.parametrize("context", [adapter_off, adapter_copied])
@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("fails", [False, True])
def test_flags_and_outputs_are_afterwards_what_they_were_and_flags_inside_too(context, name, fails):
    model = trained(name)
    for n, p in model.named_parameters():
        p.requires_grad_("layers.1" in n)
    flags, ids = [p.requires_grad for p in model.parameters()], torch.tensor([[45, 50, 290, 7]])
    before = logps_of(model, ids)
    try:
        with context(model):
            assert [p.requires_grad for p in model.parameters()] == flags
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    assert [p.requires_grad for p in model.parameters()] == flags
    assert torch.equal(logps_of(model, ids), before)


def logps_of(model, ids):
    with torch.no_grad():
        return model(ids).logits


def test_an_adapter_that_was_off_stays_off():
    model = trained("rows of the embedding")
    ids = torch.tensor([[45, 50, 290, 7]])
    with model.disable_adapter():
        off = logps_of(model, ids)
        with adapter_copied(model):
            pass
        assert torch.equal(logps_of(model, ids), off)


@pytest.mark.parametrize("word", ["adapter-off", "adapter-copy"])
def test_references_of_adapters_need_one(word):
    with pytest.raises(InputError, match=f'`reference="{word}"` needs a model with an adapter'):
        flat_analyze(tiny_model(), tiny_tokenizer(), TEXT_ROWS, reference=word)


def test_an_adapter_that_trains_biases_of_the_base_cannot_be_switched_off():
    model = tiny_lora(kind="qwen2", bias="all", target_modules=["q_proj"])
    with pytest.raises(InputError, match="trains the biases of the model it is on"), adapter_off(model):
        pass


def test_the_record_says_which_reference_was_taken():
    def recorded(model, reference, **arguments):
        return flat_analyze(
            model, tiny_tokenizer(), TEXT_ROWS, reference=reference, **arguments
        ).metadata.model.reference

    assert recorded(tiny_lora(), "adapter-copy") == "adapter-copy"
    assert recorded(trained("rows of the embedding"), "adapter-copy", trainable="lora_B") == "adapter-copy, in part"
    assert " with an adapter (" in recorded(tiny_model("llama"), tiny_lora())
