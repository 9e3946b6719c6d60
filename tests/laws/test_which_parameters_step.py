"""Which parameters step depends on nothing but the choice: not on the reference, update batches or earlier passes."""

import pytest
import torch
from peft import LoraConfig
from trl import DPOTrainer

from preflens import PreflensCallback
from preflens.errors import UnsupportedModelError
from preflens.language_models.batch import PairBatch, collate
from preflens.language_models.logps import response_logps
from preflens.language_models.parameters import observing
from preflens.training.trainer import PreferenceTrainer
from tests.cases.comparisons import model_queries, tokenized
from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS
from tests.cases.training import final_state, make_trainer
from tests.support.options import flat_analyze, flat_compare

NAMES = ("input_ids", "attention_mask", "completion_mask")

# Hugging Face's rotary embedding and RMS norm compute in float32 even in a float64 model.
SAME = 1e-5

MODELS = {
    "a part of the adapter": (tiny_lora, "lora_B"),
    "the adapter beside copies of modules": (lambda: tiny_lora(modules_to_save=["lm_head", "embed_tokens"]), "lora_B"),
    "copies of modules": (lambda: tiny_lora(modules_to_save=["lm_head"]), "modules_to_save"),
    "all that is trained": (lambda: tiny_lora(modules_to_save=["lm_head"]), "lora"),
}
# By their names, without any of the package's code.
CHOSEN = {
    "lora_B": lambda name: "lora_B.default" in name,
    "modules_to_save": lambda name: "modules_to_save.default" in name,
    "lora": lambda name: "lora_" in name or "modules_to_save.default" in name,
}


def brute_force(model, parameters):
    """Squared norms and inner product of the gradients of every pair, one backward pass a response, in float64."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(CHOSEN[parameters](name))
    chosen = [p for p in model.parameters() if p.requires_grad]
    found = {}
    for pair in tokenized(TEXT_ROWS):
        flat = []
        for logp in response_logps(model, collate([pair], pad_token_id=0)):
            gradients = torch.autograd.grad(logp, chosen, retain_graph=True, materialize_grads=True)
            flat.append(torch.cat([g.flatten() for g in gradients]))
        found[pair.pair.id] = (flat[0] @ flat[0], flat[1] @ flat[1], flat[0] @ flat[1])
    return found


@pytest.mark.parametrize("update_batch_size", [2, 6])
@pytest.mark.parametrize("reference", ["self", "adapter-off", "adapter-copy"])
@pytest.mark.parametrize("case", MODELS)
def test_pairs_have_the_geometry_of_brute_force_whatever_the_reference_and_the_update_batches(
    case, reference, update_batch_size
):
    make, parameters = MODELS[case]
    model = make()
    found = flat_analyze(
        model, tiny_tokenizer(), TEXT_ROWS, reference=reference, trainable=parameters,
        update_batch_size=update_batch_size,
    ).pairs.to_pandas().set_index("id")  # fmt: skip
    for pair, (chosen, rejected, inner) in brute_force(model, parameters).items():
        assert found.chosen_sq_norm[pair] == pytest.approx(chosen.item(), rel=SAME)
        assert found.rejected_sq_norm[pair] == pytest.approx(rejected.item(), rel=SAME)
        assert found.cosine[pair] == pytest.approx((inner / (chosen * rejected).sqrt()).item(), abs=SAME)


@pytest.mark.parametrize("reference", ["self", "adapter-off"])
def test_real_steps_are_those_that_were_forecast_whatever_the_reference(reference):
    model = tiny_lora(modules_to_save=["lm_head", "embed_tokens"])
    found = flat_analyze(
        model, tiny_tokenizer(), TEXT_ROWS, reference=reference, trainable="lora_B", update_batch_size=2,
        verify_batches=2,
    )  # fmt: skip
    # A step of a hundredth of a nat is off by its curvature, a few tenths of a percent.
    assert found.metadata.verification[0].slope == pytest.approx(1, abs=0.01)


def test_a_comparison_is_the_same_with_both_references_of_a_new_adapter():
    """With B = 0 the model without its adapter is the model itself, so that no number may differ."""
    model = tiny_lora(b_std=0.0, modules_to_save=["lm_head", "embed_tokens"])
    own, off = (
        flat_compare(
            model, tiny_tokenizer(), TEXT_ROWS,
            held_out=PROBE_ROWS, objectives=["dpo"], reference=reference, trainable="lora_B", update_batch_size=2,
            horizon=(1, 4), learning_rate=0.1, verify_objectives=["dpo"], per_pair=True,
        )
        for reference in ("self", "adapter-off")
    )  # fmt: skip
    (ours,), (theirs,) = own.metadata.objectives, off.metadata.objectives
    assert theirs.train.chosen.value == pytest.approx(ours.train.chosen.value, rel=SAME)
    assert theirs.heldout.chosen.value == pytest.approx(ours.heldout.chosen.value, rel=SAME)
    for name in ("chosen_logp_change", "rejected_logp_change"):
        assert off.held_out[name].to_pylist() == pytest.approx(own.held_out[name].to_pylist(), rel=SAME)
    for check in off.metadata.real_steps[0].small:
        assert check.chosen_forecast == pytest.approx(check.chosen_measured, rel=0.05)


class Thawing:
    """A hook that needs gradients for everything after a number of passes, as a library might."""

    def __init__(self, model, after):
        self.model, self.left = model, after
        self.handle = model.register_forward_hook(self)

    def __call__(self, *_):
        self.left -= 1
        if self.left == 0:
            self.model.requires_grad_(True)


@pytest.mark.parametrize("after", range(1, 9))
def test_a_model_that_thaws_parameters_under_way_is_refused_by_name(after):
    model = tiny_model()
    with observing(model, "ln_f"):
        asked = model_queries(model)
        pairs, held_out = tokenized(TEXT_ROWS), tokenized(PROBE_ROWS)
        with pytest.raises(
            UnsupportedModelError, match="`requires_grad` of `transformer.wte.weight` and .* was changed"
        ):
            Thawing(model.transformer, after)
            for _ in range(2):
                asked.geometry([pairs[:2], pairs[2:4]])
                asked.products([pairs[:2], pairs[2:4]], held_out)


def test_verification_refuses_parameters_that_were_thawed_between_its_passes():
    model = tiny_model()
    seen = []
    handle = model.register_forward_hook(lambda *_: seen.append(0))
    ask = {"trainable": "ln_f", "update_batch_size": 6, "micro_batch": 6}
    flat_analyze(model, tiny_tokenizer(), TEXT_ROWS, **ask)
    handle.remove()
    Thawing(model, len(seen) + 1)  # the pass that takes the gradient of the step
    with pytest.raises(UnsupportedModelError, match="`requires_grad` of `transformer.wte.weight`"):
        flat_analyze(model, tiny_tokenizer(), TEXT_ROWS, verify_batches=1, **ask)


def fresh_adapter_with_frozen_a(folder, *, trainer=PreferenceTrainer, **arguments):
    """A run with a new adapter, whose A the user freezes; TRL switches the adapter off and on for its reference."""
    # TRL's own trainer thaws A between a forward pass and its repetition, which checkpoints notice.
    ours = {"objective": "dpo"} if trainer is PreferenceTrainer else {"gradient_checkpointing": False}
    made = make_trainer(
        folder, trainer=trainer, model=tiny_model("llama", dtype=torch.float32), max_grad_norm=0.1,
        peft_config=LoraConfig(r=2, target_modules=["q_proj", "v_proj"]), **ours, **arguments,
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
            if "lora_A" in name:
                parameter.requires_grad_(False)
    return made


def test_what_is_frozen_in_an_adapter_stays_frozen_in_our_trainer(tmp_path):
    trainer = fresh_adapter_with_frozen_a(tmp_path, probe=True)
    trainer.train()
    assert {n.split(".")[-3] for n, p in trainer.model.named_parameters() if p.requires_grad} == {"lora_B"}
    assert all(p.grad is None for n, p in trainer.model.named_parameters() if "lora_A" in n)


def test_the_probe_leaves_what_is_frozen_in_an_adapter_frozen_and_the_run_as_it_was(tmp_path):
    runs = []
    for callbacks in ([], [PreflensCallback(every=1, probe_pairs=2, max_overhead=None)]):
        trainer = fresh_adapter_with_frozen_a(tmp_path, trainer=DPOTrainer, callbacks=callbacks)
        trainer.train()
        runs.append(final_state(trainer))
    (plain, plain_losses), (probed, probed_losses) = runs
    assert probed_losses == plain_losses
    assert all(torch.equal(a, b) for a, b in zip(plain, probed, strict=True))


def test_the_probe_says_that_a_library_has_thawed_what_does_not_step(tmp_path, caplog):
    """TRL's reference pass switches the adapter off and on, and PEFT thaws all of it then."""
    callback = PreflensCallback(every=1, probe_pairs=2, max_overhead=None)
    fresh_adapter_with_frozen_a(tmp_path, trainer=DPOTrainer, callbacks=[callback]).train()
    assert "`requires_grad` of `base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight`" in caplog.text


def test_the_geometry_of_every_step_is_over_the_parameters_that_step(tmp_path):
    """With a learning rate of zero and all pairs in one batch, every step has the same geometry."""
    trainer = fresh_adapter_with_frozen_a(
        tmp_path, geometry_every=1, learning_rate=0.0, per_device_train_batch_size=8, max_steps=3
    )
    trainer.train()
    (inputs,) = trainer.get_train_dataloader()
    batch = PairBatch(*(inputs[name].bool() if "mask" in name else inputs[name] for name in NAMES))
    chosen = [p for n, p in trainer.model.named_parameters() if "lora_B" in n]
    gradients = torch.stack([
        torch.cat([g.flatten() for g in torch.autograd.grad(logp, chosen, retain_graph=True)])
        for logp in response_logps(trainer.model, batch)
    ])  # fmt: skip
    expected = torch.cosine_similarity(*gradients.chunk(2)).mean().item()
    logged = [log["preflens/cosine"] for log in trainer.state.log_history if "preflens/cosine" in log]
    assert logged == pytest.approx([expected] * 3, abs=1e-4)  # logged with four digits
