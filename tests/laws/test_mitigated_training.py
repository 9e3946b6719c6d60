"""Mitigations in training: the gradient of every step is the one that autograd would form with the new coefficients."""

import logging

import pytest
import torch
from transformers import TrainerCallback

from preflens.errors import AuditError, InputError, UnsupportedModelError
from preflens.gram import directional_derivatives
from preflens.gram.brute_force import brute_force_batch_gram
from preflens.gram.training_step import weighting
from preflens.language_models.batch import PairBatch, collate
from preflens.language_models.logps import response_logps
from preflens.mitigations.parse import parse_mitigation
from preflens.objectives import dpo
from preflens.training import PreferenceTrainer
from preflens.training.mitigation import two_pass
from preflens.training.mitigation.one_pass import OnePassReweighting
from preflens.training.probe.held_out import held_out_pairs
from preflens.types import PairCoefficients
from tests.cases.language_models import tiny_tokenizer
from tests.cases.training import final_state, make_trainer, policy_and_reference

MAPS = ("normalized", "normalized:scale=shared", "band", "reward_calibration", "cone", "controlled")
# float32 gradients of tiny models against the same in another order of sums, relative to the largest entry.
CLOSE = 2e-5


class Gradients(TrainerCallback):
    """Copies what the optimizer is given."""

    def __init__(self):
        self.found = []

    def on_pre_optimizer_step(self, *_, model=None, **__):
        self.found.append([p.grad.clone() for p in model.parameters() if p.requires_grad and p.grad is not None])


class Noting(PreferenceTrainer):
    """Notes the micro-batches."""

    def training_step(self, model, inputs, *rest):
        self.batches = [*getattr(self, "batches", []), inputs]
        return super().training_step(model, inputs, *rest)


def make(folder, *, steps=1, **changes):
    own = {"objective": "dpo:beta=1", "learning_rate": 3e-3, "max_steps": steps, "max_grad_norm": 0}
    return make_trainer(folder, trainer=Noting, **(own | changes))


def run(folder, **changes):
    watch = Gradients()
    trainer = make(folder, callbacks=[watch], **changes)
    trainer.train()
    return trainer, watch.found


def assert_same_gradients(found, expected):
    assert len(found) == len(expected)
    largest = max(float(e.abs().max()) for e in expected)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=CLOSE * largest)


def by_autograd(model, batches, mitigation):
    """The gradient of the mean loss over all batches with mitigated coefficients, at the reference, by brute force."""
    rows = [PairBatch(b["input_ids"], b["attention_mask"].bool(), b["completion_mask"].bool()) for b in batches]

    def logps():
        parts = [response_logps(model, row).chunk(2) for row in rows]
        return torch.cat([p[side] for side in (0, 1) for p in parts])

    gram, pairs = brute_force_batch_gram(model, logps), sum(len(r.input_ids) for r in rows) // 2
    half = torch.full((pairs,), 0.5, dtype=torch.float64)  # β σ(0)
    c = mitigation.apply(PairCoefficients(half, half), gram).coefficients.signed()
    model.zero_grad()
    (-(c.to(torch.float32) * logps()).sum() / pairs).backward()
    return [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]


@pytest.mark.parametrize(
    ("text", "lora"), [*((text, False) for text in MAPS), ("normalized", True), ("cone", True)], ids=str
)
def test_the_gradient_is_that_of_the_mitigated_coefficients(text, lora, tmp_path):
    _, (found,) = run(tmp_path, lora=lora, mitigation=text)
    trainer, _ = run(tmp_path / "b", lora=lora, learning_rate=0.0)
    expected = by_autograd(trainer.model, trainer.batches, parse_mitigation(text))
    assert_same_gradients(found, expected)


@pytest.mark.parametrize("kind", ["gpt2", "opt", "gemma2"])
def test_other_kinds_of_models_are_kept_books_of(kind, tmp_path):
    found = []
    for number, text in enumerate(("cone", "normalized")):
        model, reference = policy_and_reference(kind=kind)
        trainer, (gradient,) = run(tmp_path / str(number), model=model, reference=reference, mitigation=text)
        assert isinstance(trainer.mitigation.strategy, OnePassReweighting)
        model, _ = policy_and_reference(kind=kind)
        expected = by_autograd(model.eval(), trainer.batches, parse_mitigation(text))
        assert_same_gradients(gradient, expected)
        found.append(gradient)
    assert any(not torch.allclose(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("text", "changes"),
    [("normalized", {}), ("cone", {"lora": True}), ("sparse_mask", {"gradient_accumulation_steps": 2})],
    ids=str,
)
def test_strength_zero_is_the_plain_run_to_the_last_bit(text, changes, tmp_path):
    plain, _ = run(tmp_path / "a", steps=2, **changes)
    zero, _ = run(tmp_path / "b", steps=2, mitigation=f"{text}:strength=0", **changes)
    assert final_state(plain)[1] == final_state(zero)[1]
    assert all(torch.equal(a, b) for a, b in zip(final_state(plain)[0], final_state(zero)[0], strict=True))


@pytest.mark.parametrize("text", ["normalized", "cone"])
def test_small_strength_is_nearly_the_plain_gradient(text, tmp_path):
    _, (plain,) = run(tmp_path / "a")
    _, (small,) = run(tmp_path / "b", mitigation=f"{text}:strength=1e-6")
    assert_same_gradients(small, plain)


def test_maps_of_single_pairs_are_the_same_under_accumulation(tmp_path):
    _, (split,) = run(tmp_path / "a", mitigation="normalized", gradient_accumulation_steps=2)
    _, (whole,) = run(tmp_path / "b", mitigation="normalized", per_device_train_batch_size=4)
    assert_same_gradients(split, whole)


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_maps_of_batches_see_the_whole_window_where_that_is_wanted(lora, tmp_path):
    wanted = {} if lora else {"mitigation_window": True}
    _, (split,) = run(tmp_path / "a", lora=lora, mitigation="cone", gradient_accumulation_steps=2, **wanted)
    _, (whole,) = run(tmp_path / "b", lora=lora, mitigation="cone", per_device_train_batch_size=4)
    assert_same_gradients(split, whole)


def test_a_second_pass_has_the_same_gradient(tmp_path, monkeypatch, caplog):
    _, (books,) = run(tmp_path / "a", mitigation="cone")

    def refuse(*_, **__):
        raise UnsupportedModelError("of a module")

    monkeypatch.setattr(two_pass, "pair_gram", refuse)
    with caplog.at_level(logging.WARNING, "preflens"):
        _, (second,) = run(tmp_path / "b", mitigation="cone")
    assert "runs a separate pass" in caplog.text
    assert_same_gradients(second, books)
    monkeypatch.setattr(two_pass, "batch_gram", refuse)
    _, (brute,) = run(tmp_path / "c", mitigation="cone")
    assert_same_gradients(brute, books)


@pytest.mark.parametrize("text", ["normalized", "cone"])
def test_a_gradient_that_is_put_together_wrongly_is_noticed(text, tmp_path, monkeypatch):
    right = weighting.weighted_sum
    monkeypatch.setattr(weighting, "weighted_sum", lambda *given: [1.1 * g for g in right(*given)])
    with pytest.raises(AuditError, match="squared norm"):
        run(tmp_path, steps=12, mitigation=text)  # within pairs one parameter a step is looked at


def test_the_norm_of_a_large_gradient_keeps_its_digits():
    """PyTorch's own float32 norm of so many numbers is off by half a percent, which looks like a wrong gradient."""
    table = torch.randn(50257, 256, generator=torch.Generator().manual_seed(0)) * 1e-4
    scalar, vector = torch.tensor(0.5), torch.ones(3)
    expected = float(table.double().square().sum()) + 0.25 + 3
    assert weighting.squared_norm([table, scalar, vector]) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("kind", ["exact", "learned", "contrast", "lambda"])
def test_masks_train_and_say_what_they_keep(kind, tmp_path):
    trainer, gradients = run(tmp_path, steps=6, mitigation=f"sparse_mask:kind={kind},beta=1,kappa=0.01,warm_up=2")
    log = [row for row in trainer.state.log_history if "loss" in row][-1]
    assert 0 <= float(log["mitigation/kept"]) <= 1
    assert all(torch.isfinite(g).all() for step in gradients for g in step)
    if kind == "learned":
        assert len(trainer.mitigation.strategy.state.masks) == 8  # kept over the epochs


def test_contrast_masks_leave_nothing_of_shared_tokens(tmp_path):
    trainer, (masked,) = run(tmp_path, mitigation="sparse_mask:kind=contrast")
    _, (plain,) = run(tmp_path / "b")
    assert any(not torch.allclose(a, b) for a, b in zip(masked, plain, strict=True))
    assert float(trainer.state.log_history[0]["mitigation/kept"]) < 1


def test_what_really_moved_is_logged(tmp_path):
    trainer, _ = run(tmp_path, steps=3, mitigation="normalized", optim="sgd", logging_steps=1, learning_rate=1e-2)
    logs = [row for row in trainer.state.log_history if "loss" in row]
    assert all(0 <= float(row["mitigation/chosen_rose"]) <= 1 for row in logs)
    assert all("mitigation/rejected_fell" in row and "mitigation/cosine" in row for row in logs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": None}, "need an `objective`"),
        ({"objective": "dpo@ld:alpha=0.5"}, "weigh tokens"),
        ({"replace_head": False}, "needs `replace_head`"),
        ({"geometry_every": 1}, "logged anyway"),
        ({"mitigation_probe": 2}, "is for the mitigation `cone`"),
        ({"mitigation": "cone", "mitigation_probe": 0}, "found no pairs"),
        ({"gradient_checkpointing_kwargs": {"use_reentrant": True}}, "reentrant"),
    ],
    ids=str,
)
def test_what_does_not_go_together_with_a_mitigation_is_refused(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        run(tmp_path, **({"mitigation": "normalized"} | changes))


def test_the_coefficient_at_the_reference_is_half_of_beta():
    """What `by_autograd` takes for granted."""
    from tests.cases.logps import drawn_logps

    logps = drawn_logps(spread=0.0)
    torch.testing.assert_close(dpo(beta=1.0).coefficients(logps).chosen, torch.full((32,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("changes", [{}, {"gradient_accumulation_steps": 2, "mitigation_window": True}], ids=str)
def test_a_cone_keeps_held_out_pairs_from_harm_too(changes, tmp_path):
    other = [{"prompt": "over the hill", "chosen": f" green and {w}", "rejected": f" blue {w}"} for w in ("ran", "no")]
    trainer, (found,) = run(tmp_path, mitigation="cone:floor=0.3", mitigation_probe=other, **changes)
    _, (without,) = run(tmp_path / "b", mitigation="cone:floor=0.3", **changes)
    model, _ = policy_and_reference()
    batch = collate(held_out_pairs(other, None, tiny_tokenizer(), max_length=64), pad_token_id=0)
    for gradient, harmed in ((found, False), (without, True)):
        change = directional_derivatives(model.eval(), lambda: response_logps(model, batch), [[-g for g in gradient]])[
            0
        ]
        chosen, rejected = change.chunk(2)
        assert bool((chosen > 0).all() and (rejected < 0).all()) is not harmed
    assert trainer.state.log_history[0]["mitigation/floors_met"] == 1


@pytest.mark.parametrize("text", ["reward_calibration", "sparse_mask:kind=learned", "splitting:kind=sequential"])
def test_a_resumed_run_remembers_what_the_mitigation_knew(text, tmp_path):
    whole, _ = run(tmp_path / "a", steps=4, mitigation=text)
    cut, _ = run(tmp_path / "b", steps=4, mitigation=text, save_strategy="steps", save_steps=2)
    again = make(tmp_path / "c", steps=4, mitigation=text)
    again.train(resume_from_checkpoint=str(tmp_path / "b" / "checkpoint-2"))
    for other in (cut, again):
        assert all(torch.equal(a, b) for a, b in zip(final_state(whole)[0], final_state(other)[0], strict=True))
