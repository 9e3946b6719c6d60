"""Four-bit models with an adapter are measured exactly; weights that are packed for inference are refused."""

from functools import partial

import bitsandbytes as bnb
import pytest
import torch
from bitsandbytes.functional import _convert_weight_packed_for_cpu
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from preflens import DataOptions, RunOptions, analyze, batch_gram, load_model
from preflens.analysis.measurement.forward_passes import PassLimit, PolicyScorer, make_passes
from preflens.analysis.measurement.geometry import batch_geometry
from preflens.gram import brute_force_batch_gram
from preflens.language_models.logps import response_logps
from preflens.language_models.model import evaluating
from preflens.language_models.parameters import observing
from preflens.language_models.quantized import never_packing
from preflens.training import PreferenceTrainer
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS
from tests.cases.training import make_trainer
from tests.support.grams import assert_close, batch_of
from tests.support.rows import tokenized

SWITCH = "support_avx512bf16_for_cpu"
# Of float32 sums in another order.
FLOAT32 = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A four-bit model as people save it."""
    place = tmp_path_factory.mktemp("quantized")
    tiny_model("llama", dtype=torch.float32, hidden_size=64, intermediate_size=128).save_pretrained(place / "whole")
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        place / "whole", quantization_config=four_bits, device_map="cpu", dtype=torch.float32
    )
    model.save_pretrained(place / "four bits")
    return place / "four bits"


@pytest.fixture
def model(folder):
    """With a LoRA on it; its layers believe that this CPU can compute with packed weights."""
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(load_model(str(folder), device="cpu"), config).eval()
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.1)
    for layer in four_bit_layers(model):
        setattr(layer, SWITCH, True)
    return model


def four_bit_layers(model):
    found = [m for m in model.modules() if isinstance(m, bnb.nn.Linear4bit)]
    assert found
    assert all(SWITCH in vars(m) for m in found)
    return found


def packed(layer):
    return bool(getattr(layer.weight.quant_state, "packing_format_for_cpu", False))


def pack(model):
    """What a layer does at its first call in evaluation mode whose input needs no gradient."""
    for layer in four_bit_layers(model):
        layer.weight.data, layer.weight.quant_state = _convert_weight_packed_for_cpu(
            layer.weight.data, layer.weight.quant_state
        )


def dense(model):
    """The same numbers in layers that nobody packs."""
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, bnb.nn.Linear4bit):
                plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
                weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
                plain.weight = torch.nn.Parameter(weight.float(), requires_grad=False)
                setattr(parent, name, plain)
    return model


def test_a_four_bit_model_is_measured_like_the_numbers_that_its_weights_stand_for(model):
    batch = batch_of(tokenized())
    with observing(model):
        with torch.no_grad():
            response_logps(model, batch)
        found = batch_gram(model, partial(response_logps, model, batch))
    assert not any(packed(layer) for layer in four_bit_layers(model))
    assert all(getattr(layer, SWITCH) is True for layer in four_bit_layers(model))
    plain = dense(model)
    expected = brute_force_batch_gram(plain, partial(response_logps, plain, batch))
    assert_close(found, expected, FLOAT32)
    torch.testing.assert_close(found.logps, expected.logps, atol=1e-3, rtol=0)


def test_an_analysis_of_a_four_bit_model_packs_nothing_and_every_adapter_tensor_counts(model, folder):
    reference = load_model(str(folder), device="cpu")
    for layer in four_bit_layers(reference):
        setattr(layer, SWITCH, True)
    result = analyze(
        model, tiny_tokenizer(), TEXT_ROWS, reference=reference, verify_batches=1, data=DataOptions(max_length=48),
        run=RunOptions(progress=False),
    )  # fmt: skip
    assert not any(packed(layer) for layer in (*four_bit_layers(model), *four_bit_layers(reference)))
    (verification,) = result.metadata.verification
    assert verification.slope == pytest.approx(1, abs=0.05)
    passes = make_passes(PolicyScorer(model, None, 0), tokenized(), PassLimit())
    with observing(model):
        by_module = batch_gram(model, passes.forwards_to_head(), by="module")
        geometry = batch_geometry(passes, reference)
    assert (by_module.matrix.diagonal(dim1=1, dim2=2) > 0).all()
    plain = dense(reference)
    with torch.no_grad():
        logps = response_logps(plain, batch_of(tokenized()))
    ours = torch.cat([geometry.logps.ref_chosen, geometry.logps.ref_rejected])
    torch.testing.assert_close(ours, logps.double(), atol=1e-3, rtol=0)


def test_weights_that_are_packed_already_are_refused_by_name(model):
    pack(model)
    for context in (evaluating, observing):
        with (
            pytest.raises(
                TypeError, match="`.*q_proj.base_layer` .a `Linear4bit` of bitsandbytes. has packed its weights"
            ),
            context(model),
        ):
            pass


def test_a_trainer_keeps_its_policy_from_packing_in_evaluations(model, tmp_path):
    trainer = make_trainer(
        tmp_path, trainer=PreferenceTrainer, model=model, objective="dpo", max_steps=2, geometry_every=1,
        eval_strategy="steps", eval_steps=1, gradient_checkpointing=False,
    )  # fmt: skip
    before = {n: p.clone() for n, p in model.named_parameters() if p.requires_grad}
    trainer.train()
    assert not any(packed(layer) for layer in four_bit_layers(model))
    assert all(not torch.equal(p, before[n]) for n, p in model.named_parameters() if p.requires_grad)


def test_layers_can_be_kept_from_packing_for_good(model):
    assert set(never_packing(model).values()) == {True}
    assert not any(getattr(layer, SWITCH) for layer in four_bit_layers(model))
