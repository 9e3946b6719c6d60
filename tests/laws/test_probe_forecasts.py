"""The probe's numbers: forecasts, attributions and measured changes are what they are called."""

import pytest
import torch
from trl import DPOTrainer

from preflens.language_models.batch import PairBatch
from preflens.language_models.logps import response_logps
from preflens.training.probe.callback import PreflensCallback
from preflens.training.probe.table import ProbeTable
from preflens.training.trainer import PreferenceTrainer
from tests.cases.training import make_trainer, policy_and_reference
from tests.support.probed_runs import CaptureNoting, ExactNoting, column, logged, spied, trained


def test_the_plain_forecast_is_the_learning_rate_times_gram_times_coefficients(tmp_path):
    trainer, spy, table = spied(tmp_path, optim="sgd", max_grad_norm=0.0)
    (gram,) = spy.grams
    c = torch.cat([column(table, "chosen_coefficient"), -column(table, "rejected_coefficient")])
    expected = trainer.args.learning_rate * gram.matrix @ c / table.num_rows
    found = torch.cat([column(table, "plain_chosen"), column(table, "plain_rejected")])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(column(table, "optimizer_chosen"), column(table, "plain_chosen"), rtol=2e-3, atol=1e-7)
    torch.testing.assert_close(column(table, "inner_product"), gram.pair_gram().inner_product, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_coefficients_of_dpo_at_the_reference_are_beta_over_two_in_both_sets(accumulated, tmp_path):
    callback = PreflensCallback(every=1, max_overhead=None, probe_pairs=3, alerts=None)
    make_trainer(tmp_path, callbacks=[callback], max_steps=1, gradient_accumulation_steps=accumulated).train()
    table = ProbeTable(tmp_path / "preflens" / "probe.parquet").read()
    assert table["set"].to_pylist() == ["batch"] * 2 * accumulated + ["probe"] * 3
    for name in ("chosen_coefficient", "rejected_coefficient"):
        expected = torch.full((table.num_rows,), 0.05, dtype=torch.float64)
        torch.testing.assert_close(column(table, name), expected, rtol=1e-5, atol=0)


def test_the_probe_and_the_trainer_agree_on_what_is_uniform_over_the_tokens_of_a_response(tmp_path):
    for alpha, uniform in ((1.0, True), (0.99997, False)):
        callback = PreflensCallback(every=1, max_overhead=None, probe_pairs=0, alerts=None)
        own = {"trainer": PreferenceTrainer, "objective": f"dpo@ld:alpha={alpha}", "max_steps": 1}
        make_trainer(tmp_path / f"probe{alpha}", callbacks=[callback], **own).train()
        table = ProbeTable(tmp_path / f"probe{alpha}" / "preflens" / "probe.parquet").read()
        observe_backward = make_trainer(tmp_path / f"ride{alpha}", geometry_every=1, **own)
        observe_backward.train()
        assert (table["chosen_coefficient"].null_count == 0) == uniform
        assert bool(logged(observe_backward, "cosine")) == uniform


def test_under_accumulation_the_forecast_is_for_the_whole_batch(tmp_path):
    trainer, spy, table = spied(
        tmp_path, optim="sgd", max_grad_norm=0.0, gradient_accumulation_steps=2, per_device_train_batch_size=2
    )
    assert table.num_rows == 4
    assert len(spy.micro_batches) == 2
    change = trainer.args.learning_rate
    model = trainer.model
    new = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for p, old in zip(model.parameters(), spy.old, strict=True):
            p.copy_(old)
    found = column(table, "plain_chosen")
    seen = spy.micro_batches[1]
    batch = PairBatch(seen.input_ids, seen.attention_mask, seen.completion_mask)
    (g,) = torch.autograd.grad(response_logps(model, batch)[0], [next(model.parameters())], retain_graph=False)
    assert g.shape == spy.gradient[0].shape
    whole = sum(
        float((a * b).sum())
        for a, b in zip(
            torch.autograd.grad(response_logps(model, batch)[0], list(model.parameters())), spy.gradient, strict=True
        )
    )
    assert found[2].item() == pytest.approx(-change * whole, rel=1e-4)
    assert len(new) == len(spy.old)


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd"])
def test_attribution_is_the_inner_product_with_the_update_that_was_made(tmp_path, optim):
    trainer, spy, table = spied(tmp_path, optim=optim)
    model, (seen,) = trainer.model, spy.micro_batches
    updates = [p.detach() - old for p, old in zip(model.parameters(), spy.old, strict=True)]
    with torch.no_grad():
        for p, old in zip(model.parameters(), spy.old, strict=True):
            p.copy_(old)
    batch = PairBatch(seen.input_ids, seen.attention_mask, seen.completion_mask)
    for row, name in ((0, "attribution_chosen"), (2, "attribution_rejected")):
        gradient = torch.autograd.grad(response_logps(model, batch)[row], list(model.parameters()))
        expected = sum(float((a.double() * b.double()).sum()) for a, b in zip(gradient, updates, strict=True))
        assert column(table, name)[0].item() == pytest.approx(expected, rel=1e-3)


def test_the_measured_change_is_what_the_log_probs_did(tmp_path):
    trainer, spy, table = spied(tmp_path)
    (seen,), model = spy.micro_batches, trainer.model
    batch = PairBatch(seen.input_ids, seen.attention_mask, seen.completion_mask)
    with torch.no_grad():
        after = response_logps(model, batch).double()
    before = torch.cat([column(table, "chosen_logp"), column(table, "rejected_logp")])
    measured = torch.cat([column(table, "measured_chosen"), column(table, "measured_rejected")])
    torch.testing.assert_close(before + measured, after, rtol=1e-5, atol=1e-5)


def test_an_optimizer_that_cannot_be_predicted_still_has_an_attribution(tmp_path, monkeypatch):
    from preflens.training.probe import optimizer_preview

    monkeypatch.setattr(torch.optim, "LBFGS", torch.optim.AdamW)  # what cannot be foretold
    assert optimizer_preview.torch is torch
    _, _, table = spied(tmp_path)
    assert table["optimizer_chosen"].null_count == table.num_rows
    attribution, measured = column(table, "attribution_chosen"), column(table, "measured_chosen")
    assert (attribution - measured).abs().max() < 0.1 * measured.abs().max()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("gpt2", {}),  # looks up one row of positions for all responses
        ("gemma2", {}),
        ("opt", {}),
        ("llama", {"gradient_checkpointing": False}),
        ("llama", {"gradient_accumulation_steps": 2}),
    ],
    ids=str,
)
def test_gradients_are_read_off_the_backward_pass_and_are_those_of_a_pass_of_our_own(kind, changes, tmp_path):
    model, reference = policy_and_reference(kind=kind)
    spy = ExactNoting(every=1, max_overhead=None, probe_pairs=0, alerts=None)
    trainer = make_trainer(tmp_path, callbacks=[spy], max_steps=1, model=model, reference=reference, **changes)
    trainer.train()
    assert all(batch.gradients is not None for batch in spy.micro_batches)
    assert spy.probe.trusts_capture
    found = column(ProbeTable(tmp_path / "preflens" / "probe.parquet").read(), "inner_product")
    expected = torch.cat([gram.pair_gram().inner_product for gram in spy.grams])
    scale = torch.cat([(g.pair_gram().chosen_sq_norm * g.pair_gram().rejected_sq_norm).sqrt() for g in spy.grams])
    assert ((found - expected).abs() <= 1e-5 * scale).all()


class WithAnotherTerm(DPOTrainer):
    """Its loss also pulls at the weights' images of a layer, which no log-prob tells of."""

    def _compute_loss(self, model, inputs, return_outputs):
        found = []
        handle = model.model.layers[1].register_forward_hook(lambda _, __, out: found.append(out))
        loss = super()._compute_loss(model, inputs, return_outputs)
        handle.remove()
        return loss + 5 * found[0].square().mean()


def test_a_loss_with_other_terms_is_noticed_and_gets_passes_of_our_own(tmp_path, caplog):
    spy = ExactNoting(every=1, max_overhead=None, probe_pairs=0, alerts=None)
    trainer = make_trainer(
        tmp_path, trainer=WithAnotherTerm, callbacks=[spy], max_steps=1, gradient_checkpointing=False
    )
    trainer.train()
    assert spy.probe.trusts_capture is False
    assert "other terms" in caplog.text
    found = column(ProbeTable(tmp_path / "preflens" / "probe.parquet").read(), "inner_product")
    torch.testing.assert_close(found, spy.grams[0].pair_gram().inner_product, rtol=1e-4, atol=1e-6)


def test_dropout_gets_passes_of_our_own(tmp_path):
    model, reference = policy_and_reference(kind="gpt2", resid_pdrop=0.2)
    spy = CaptureNoting(every=1, max_overhead=None, probe_pairs=0, alerts=None)
    trainer = make_trainer(
        tmp_path, callbacks=[spy], max_steps=1, model=model, reference=reference, disable_dropout=False
    )
    trainer.train()
    assert [batch.gradients for batch in spy.micro_batches] == [None]


@pytest.mark.parametrize("bf16", [False, True])
def test_where_nothing_moves_nothing_is_measured(bf16, tmp_path):
    trainer = trained(tmp_path, probe=True, bf16=bf16, optim="sgd", learning_rate=0.0)
    assert max(map(abs, logged(trainer, "probe_measured_chosen") + logged(trainer, "measured_rejected"))) < 1e-6


def test_an_optimizer_with_attributes_of_its_own_is_predicted_or_done_without(tmp_path):
    class Blocks(torch.optim.AdamW):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.block_size = 4

        def step(self, closure=None):
            assert self.block_size == 4
            return super().step(closure)

    callback = PreflensCallback(every=1, max_overhead=None, probe_pairs=0)
    trainer = make_trainer(tmp_path, callbacks=[callback], max_steps=2)
    trainer.optimizer = Blocks(trainer.model.parameters(), lr=1e-3)
    trainer.train()
    assert len(logged(trainer, "optimizer_chosen")) == 2
