"""Parameters that matter though no gradient says so are refused by name, everywhere; idle ones are not."""

import re
from functools import partial

import pytest
import torch
from torch import nn

from preflens import PreferenceTrainer, PreflensCallback, batch_gram, pair_gram
from preflens.errors import AuditError
from preflens.gram import (  # fmt: skip
    brute_force_batch_gram,
    brute_force_pair_gram,
    directional_derivatives,
    observe_backward,
)
from preflens.gram.readers.stored_gradients import per_response_gradients
from preflens.gram.training_step.deferred import defer_weighting
from preflens.language_models.logps import response_logps
from tests.cases.families import ADAPTERS, lora
from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS
from tests.cases.training import make_trainer, policy_and_reference
from tests.support.grams import FLOAT32_ISLANDS, assert_close, batch_of, reference
from tests.support.options import flat_analyze, flat_compare
from tests.support.rows import tokenized

X = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Branch(nn.Module):
    """A layer beside the way from input to output."""

    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.Linear(4, 4), nn.Linear(4, 1)

    def beside(self, x):
        raise NotImplementedError

    def forward(self, x):
        return self.out(torch.tanh(x + self.beside(x))).squeeze(1)


class Detached(Branch):
    def beside(self, x):
        return self.layer(x).detach()


class WithoutGradients(Branch):
    def beside(self, x):
        with torch.no_grad():
            return self.layer(x)


class MayBeCut(nn.Linear):
    cut = False

    def forward(self, x):
        return super().forward(x).detach() if self.cut else super().forward(x)


class CutInside(Branch):
    """Not the first layer of its class, so nobody compares its numbers with autograd's."""

    def __init__(self):
        super().__init__()
        del self.layer
        self.honest, self.layer = MayBeCut(4, 4), MayBeCut(4, 4)
        self.layer.cut = True

    def beside(self, x):
        return self.layer(torch.tanh(self.honest(x))) + self.honest(x)


class Packed(Branch):
    """In evaluation mode its layer sends no gradient back, as layers packed for inference do."""

    def beside(self, x):
        hidden = self.layer(x)
        return hidden if self.training else hidden.detach()


class Idle(Branch):
    """The layer runs for nothing."""

    def beside(self, x):
        return 0 * x + self.layer(x).detach() * 0


def trainable(module):
    return [p for p in module.parameters() if p.requires_grad]


def observed(module, forward):
    with observe_backward(module) as observer:
        observer.logps(forward()).sum().backward()
    return observer.pair_gram()


def deferred(module, forward):
    with defer_weighting(module, pairs=True) as gradients:
        outcome = forward()
        gradients.on_forward(outcome)
        gradients.coefficients = torch.ones(len(outcome), dtype=torch.float64)
        outcome.sum().backward()


ENTRY_POINTS = {
    "pair_gram": pair_gram,
    "batch_gram": batch_gram,
    "without audits": lambda module, forward: pair_gram(module, forward, check=False),
    "several passes": lambda module, forward: batch_gram(module, [forward, forward]),
    "directional_derivatives": lambda module, forward: directional_derivatives(module, forward, [trainable(module)]),
    "per_response_gradients": per_response_gradients,
    "observe_backward": observed,
    "defer_weighting": deferred,
    "brute_force_pair_gram": brute_force_pair_gram,
    "brute_force_batch_gram": brute_force_batch_gram,
}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@pytest.mark.parametrize("kind", [Detached, WithoutGradients, Packed])
def test_a_parameter_that_matters_and_gets_no_gradient_is_refused_by_name(kind, entry_point):
    module = kind().double().eval()
    with pytest.raises(TypeError, match="No gradient reaches `layer.bias` and 1 other parameters, although"):
        ENTRY_POINTS[entry_point](module, lambda: module(X))
    module.layer.requires_grad_(False)
    ENTRY_POINTS[entry_point](module, lambda: module(X))


@pytest.mark.parametrize("entry_point", sorted(set(ENTRY_POINTS) - {"without audits", "defer_weighting"}))
def test_a_parameter_whose_module_cuts_its_own_output_off_is_refused_by_name(entry_point):
    module = CutInside().double()
    with pytest.raises(TypeError, match="No gradient reaches `layer.bias` and 1 other parameters, although"):
        ENTRY_POINTS[entry_point](module, lambda: module(X))
    module.layer.requires_grad_(False)
    ENTRY_POINTS[entry_point](module, lambda: module(X))


def test_a_layer_that_is_cut_off_after_the_audits_is_refused_too():
    module = Packed().double().train()
    pair_gram(module, lambda: module(X))
    module.eval()
    with pytest.raises(TypeError, match="No gradient reaches `layer.bias`"):
        pair_gram(module, lambda: module(X))


def test_a_parameter_that_does_not_matter_has_a_gradient_of_zero():
    module = Idle().double()
    expected = brute_force_batch_gram(module, lambda: module(X), by="module")
    for found in (
        batch_gram(module, lambda: module(X), by="module"),
        batch_gram(module, lambda: module(X), by="module"),
    ):
        torch.testing.assert_close(found.matrix, expected.matrix)
    assert not found.matrix[found.blocks.index("layer")].any()
    observed(module, lambda: module(X))  # known by now


def test_looking_for_what_matters_leaves_weights_and_random_state_alone():
    module = Detached().double()
    before, state = {n: p.clone() for n, p in module.named_parameters()}, torch.random.get_rng_state()
    pointers = [p.data_ptr() for p in module.parameters()]
    with pytest.raises(TypeError, match="No gradient reaches"):
        pair_gram(module, lambda: module(X))
    assert all(torch.equal(p, before[n]) for n, p in module.named_parameters())
    assert [p.data_ptr() for p in module.parameters()] == pointers
    assert torch.equal(torch.random.get_rng_state(), state)


class Experts(nn.Module):
    """Each token goes to one of three experts by its first number; to the last one goes none."""

    def __init__(self, always):
        super().__init__()
        self.experts, self.always = nn.ModuleList(nn.Linear(4, 4) for _ in range(3)), always

    def forward(self, x):
        flat = x.flatten(0, 1)
        chosen = (flat[:, 0] > 0.2).long()
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            here = (chosen == number).nonzero()[:, 0]
            if self.always or len(here):
                out = out.index_add(0, here, torch.tanh(expert(flat[here])))
        return out.unflatten(0, x.shape[:2])


@pytest.mark.parametrize("always", [False, True], ids=["not called", "called with no token"])
def test_experts_without_tokens_are_legal(always):
    module = nn.Sequential(Experts(always), nn.Flatten(), nn.Linear(12, 1)).double()
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    expected = brute_force_batch_gram(module, lambda: module(x).squeeze(1))
    assert_close(batch_gram(module, lambda: module(x).squeeze(1)), expected, 1e-12)


def test_a_gradient_of_zero_that_arrives_is_legal_and_is_followed_when_it_is_no_longer_zero():
    experts = {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.gate_up_proj"]}
    for make in (tiny_lora, lambda: lora(tiny_model("mixtral"), **experts), ADAPTERS["lora on experts"]):
        model, batch = make(), batch_of(tokenized())
        trained = {n: p for n, p in model.named_parameters() if "lora_B" in n}
        with torch.no_grad():
            for p in trained.values():
                p.zero_()
        forward = partial(response_logps, model, batch)  # the same code: no second audit
        parts = batch_gram(model, forward, by="module")
        a = [i for i, name in enumerate(parts.blocks) if "lora_A" in name]
        assert a
        assert not parts.matrix[a].any()
        with torch.no_grad():
            for p in trained.values():
                p.normal_(std=0.1)
        assert_close(batch_gram(model, forward), reference(model, batch), FLOAT32_ISLANDS)


class RoundedForInference(nn.Module):
    """Computes something else when no gradient is wanted."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x):
        hidden = self.layer(x).squeeze(1)
        return hidden if torch.is_grad_enabled() else hidden.bfloat16().double()


@pytest.mark.parametrize("ask", [pair_gram, batch_gram, per_response_gradients])
def test_log_probs_that_differ_in_a_pass_without_gradients_are_an_error(ask):
    module = RoundedForInference().double()
    with pytest.raises(
        AuditError, match="response .* nats in the pass that measures gradients and .* without gradient"
    ):
        ask(module, lambda: module(X))


# In the analyses and in training


def cut(model):
    """The queries of the second layer come without a graph; a hook of somebody who watches, say."""
    model.model.layers[1].self_attn.q_proj.register_forward_hook(lambda *call: call[-1].detach())
    return model


NAMED = "No gradient reaches `model.layers.1.self_attn.q_proj.weight`, although"


ASKS = {"analyze": flat_analyze, "compare": partial(flat_compare, held_out_fraction=0.4)}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_analyses_refuse_a_parameter_that_no_gradient_reaches(ask):
    with pytest.raises(TypeError, match=NAMED):
        ask(cut(tiny_model("llama")), tiny_tokenizer(), TEXT_ROWS, max_length=48)


@pytest.mark.parametrize("own", [{}, {"geometry_every": 1}, {"mitigation": "normalized"}], ids=str)
def test_training_refuses_a_parameter_that_no_gradient_reaches(own, tmp_path):
    model, reference = policy_and_reference()
    trainer = make_trainer(
        tmp_path, trainer=PreferenceTrainer, model=cut(model), reference=reference, objective="dpo", max_steps=1, **own
    )
    with pytest.raises(TypeError, match=NAMED):
        trainer.train()


def test_the_probe_says_so_and_lets_the_run_go_on(tmp_path, caplog):
    model, reference = policy_and_reference()
    probe = PreflensCallback(every=1, max_overhead=None, probe_pairs=3)
    make_trainer(tmp_path, model=cut(model), reference=reference, callbacks=[probe], max_steps=2).train()
    assert re.search(f"The probe is off for the rest of this run, which continues unchanged. {NAMED}", caplog.text)
