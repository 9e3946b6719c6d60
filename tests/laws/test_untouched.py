"""Whatever is asked, and also when the model raises midway, a model is afterwards what it was before."""

from contextlib import suppress

import pytest
import torch

from preflens import batch_gram, pair_gram
from preflens.gram import brute_force_batch_gram, brute_force_pair_gram, directional_derivatives, observe_backward
from preflens.language_models.logps import response_logps
from preflens.language_models.output_head import head_input, plain_head
from tests.cases.language_models import MENAGERIE, tiny_model
from tests.support.grams import batch_of, dpo_loss
from tests.support.rows import tokenized

MODELS = ["gpt2", "gemma2", "mixtral", "dora", "lora with modules_to_save"]


def observed(module, forward):
    with observe_backward(module) as observer:
        dpo_loss(observer.logps(forward())).backward()
    observer.pair_gram()


ENTRY_POINTS = {
    "pair_gram": pair_gram,
    "pair_gram by layer": lambda module, forward: pair_gram(module, forward, by="layer"),
    "batch_gram": batch_gram,
    "batch_gram in passes": lambda module, forward: batch_gram(module, [forward, forward], memory=1e5),
    "brute_force_pair_gram": brute_force_pair_gram,
    "brute_force_batch_gram": brute_force_batch_gram,
    "directional_derivatives": lambda module, forward: directional_derivatives(
        module, forward, [[torch.ones_like(p) for p in module.parameters() if p.requires_grad]]
    ),
    "observe_backward": observed,
}


def state_of(model):
    """Everything that could have been left behind."""
    hooks = {
        (name, kind): tuple(getattr(module, kind))
        for name, module in model.named_modules()
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    }
    modes = {name: module.training for name, module in model.named_modules()}
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    parameters = {
        name: (p.requires_grad, id(p), p.data_ptr(), p._version, None if p.grad is None else p.grad.clone())
        for name, p in model.named_parameters(remove_duplicate=False)
    }
    return hooks, modes, attributes, parameters, torch.get_rng_state(), torch.is_grad_enabled()


def assert_same_state(after, before, *, gradients):
    for one, other in zip(after[:3], before[:3], strict=True):
        assert one == other
    for name, (flag, identity, place, version, grad) in before[3].items():
        found = after[3][name]
        assert found[:4] == (flag, identity, place, version), name
        if gradients:
            assert (found[4] is None) == (grad is None)
            assert grad is None or torch.equal(found[4], grad)
    assert torch.equal(after[4], before[4])
    assert after[5] == before[5]


def with_some_gradients(model):
    """As in the middle of gradient accumulation."""
    for i, p in enumerate(model.parameters()):
        if p.requires_grad and i % 2:
            p.grad = torch.full_like(p, 0.5)
    return model


@pytest.mark.parametrize("ask", ENTRY_POINTS)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_untouched(name, ask):
    model, batch = with_some_gradients(MENAGERIE[name]()), batch_of(tokenized())
    head = plain_head(model)
    before = state_of(model)
    for forward in (lambda: response_logps(model, batch), lambda: head_input(head, batch)):
        ENTRY_POINTS[ask](model, forward)
        assert_same_state(state_of(model), before, gradients=ask != "observe_backward")


@pytest.mark.parametrize("ask", ENTRY_POINTS)
@pytest.mark.parametrize("where", ["forward", "backward", "after the forward pass"])
def test_a_model_is_untouched_when_something_raises_midway(ask, where):
    model, batch = with_some_gradients(tiny_model()), batch_of(tokenized())
    head = plain_head(model)
    before = state_of(model)

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            if where == "forward":
                raise RuntimeError("broken")
            return x.detach()

        @staticmethod
        def backward(_, _gradient):
            raise RuntimeError("broken")

    def forward():
        handle = model.transformer.h[0].mlp.register_forward_hook(lambda *seen: Broken.apply(seen[-1]))
        try:
            found = head_input(head, batch)
        finally:
            handle.remove()
        if where == "after the forward pass":
            raise RuntimeError("broken")
        return found

    with pytest.raises(RuntimeError, match="broken"):
        ENTRY_POINTS[ask](model, forward)
    assert_same_state(state_of(model), before, gradients=ask != "observe_backward")
    with suppress(RuntimeError):
        ENTRY_POINTS[ask](model, lambda: head_input(head, batch))  # and works again
    assert_same_state(state_of(model), before, gradients=ask != "observe_backward")


def test_a_plain_backward_inside_an_observer_is_undisturbed():
    model, batch = tiny_model(), batch_of(tokenized())

    def other_loss():
        return model(input_ids=batch.input_ids[:3]).logits.square().mean()

    expected = torch.autograd.grad(other_loss(), list(model.parameters()))
    with observe_backward(model, products="batch") as observer:
        other_loss().backward()
        for p, gradient in zip(model.parameters(), expected, strict=True):
            assert torch.equal(p.grad, gradient)
        dpo_loss(observer.logps(response_logps(model, batch))).backward()
        model.zero_grad()
        other_loss().backward()
        for p, gradient in zip(model.parameters(), expected, strict=True):
            assert torch.equal(p.grad, gradient)
    exact = brute_force_batch_gram(model, lambda: response_logps(model, batch))
    torch.testing.assert_close(observer.batch_gram().matrix, exact.matrix, rtol=1e-9, atol=1e-9)


def test_gradients_are_bit_for_bit_those_of_a_step_without_an_observer():
    model, batch = tiny_model(dtype=torch.float32), batch_of(tokenized())
    dpo_loss(response_logps(model, batch)).backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    with observe_backward(model, products="batch") as observer:
        dpo_loss(observer.logps(response_logps(model, batch))).backward()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), expected, strict=True))
