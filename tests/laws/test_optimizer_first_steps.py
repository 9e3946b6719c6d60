"""First steps under an optimizer are those of the real one: clipped, shared, coupled, decayed, averaged."""

import pytest
import torch

from preflens import OBJECTIVES
from preflens.analysis.comparison.first_step import coefficients_of, first_steps, stack_batches
from preflens.analysis.comparison.optimizer_first_step import optimizer_first_steps
from preflens.optimizers.first_update import FirstUpdate
from preflens.optimizers.settings import OptimizerSettings
from tests.support.held_out import gradients, tiny_case

LABELS = ("dpo", "ipo", "simpo", "kto", "sft")
SETTINGS = {
    "plain": OptimizerSettings("plain", learning_rate=1e-2),
    "sgd": OptimizerSettings("sgd", learning_rate=1e-2, max_grad_norm=0.05),
    "sgd, decay": OptimizerSettings("sgd", learning_rate=1e-2, weight_decay=0.1),
    "adamw": OptimizerSettings("adamw", learning_rate=1e-3, max_grad_norm=0.05),
    "adamw, decay": OptimizerSettings("adamw", learning_rate=1e-3, weight_decay=0.1),
}


def real_step(model, gradient, settings):
    """Change of all parameters in a step of torch's optimizer, clipped by torch."""
    copies = [torch.nn.Parameter(p.detach().clone()) for p in model.parameters()]
    for copy, part in zip(copies, gradient.split([c.numel() for c in copies]), strict=True):
        copy.grad = part.reshape(copy.shape).to(copy)
    if settings.clips:
        torch.nn.utils.clip_grad_norm_(copies, settings.max_grad_norm)
    update = FirstUpdate(model, settings)
    settings.make([
        {"params": [c], "weight_decay": settings.weight_decay if update.decays(p) else 0.0}
        for c, p in zip(copies, model.parameters(), strict=True)
    ]).step()
    return torch.cat([(c - p).detach().flatten() for c, p in zip(copies, model.parameters(), strict=True)]).double()


@pytest.fixture(scope="module")
def case():
    with tiny_case() as made:
        yield made


@pytest.mark.parametrize("name", SETTINGS)
def test_means_are_those_of_real_steps_on_every_update_batch(name, case):
    queries, batches, held_out = case
    settings, model = SETTINGS[name], queries.scorer.model
    objectives = {label: OBJECTIVES[label]() for label in LABELS}
    training = stack_batches(queries.geometry(batches))
    steps = first_steps(objectives, training, queries.products(batches, held_out), {})
    found = optimizer_first_steps(
        queries, batches, held_out, objectives=objectives, coupled=["kto"], training=training, signed=steps.signed,
        settings=settings, update=FirstUpdate(model, settings),
    )  # fmt: skip
    other = gradients(model, held_out)
    places = torch.arange(4).split(training.sizes)
    for label, objective in objectives.items():
        changes = []
        for batch, place in zip(batches, places, strict=True):
            part = coefficients_of(objective, stack_batches(queries.geometry([batch]))).signed()
            changes.append(other @ real_step(model, -(part / len(place)) @ gradients(model, batch), settings))
        chosen, rejected = torch.stack(changes).mean(0).reshape(2, -1).mean(1)
        size = float(torch.stack(changes).abs().mean())
        estimates = found.steps[label].estimates
        assert abs(estimates[0].value - float(chosen)) <= 2e-4 * size
        assert abs(estimates[1].value - float(rejected)) <= 2e-4 * size
        assert found.steps[label].by_batch == (name != "plain" or label == "kto")
    if name.startswith("adamw"):
        assert any({"dpo", "ipo"} <= set(group) for group in found.same_start)


def test_weight_decay_is_told_apart(case):
    queries, batches, held_out = case
    objectives = {"dpo": OBJECTIVES["dpo"]()}
    training = stack_batches(queries.geometry(batches))
    steps = first_steps(objectives, training, queries.products(batches, held_out), {})
    parts = {}
    for decay in (0.0, 0.1):
        settings = OptimizerSettings("adamw", learning_rate=1e-3, weight_decay=decay)
        parts[decay] = optimizer_first_steps(
            queries, batches, held_out, objectives=objectives, coupled=(), training=training, signed=steps.signed,
            settings=settings, update=FirstUpdate(queries.scorer.model, settings),
        )  # fmt: skip
    assert parts[0.0].decay == (0.0, 0.0)
    with_decay, without = (parts[d].steps["dpo"].estimates[0].value for d in (0.1, 0.0))
    assert parts[0.1].decay[0] != 0
    assert with_decay - without == pytest.approx(parts[0.1].decay[0], rel=1e-6)
