"""A pilot is the run it stands for, and leaves no trace."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from preflens import OBJECTIVES
from preflens.analysis.comparison.pilot import PilotPlan, piloted
from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.optimizers.settings import OptimizerSettings
from tests.support.held_out import tiny_case

SETTINGS = OptimizerSettings("adamw", learning_rate=5e-3, max_grad_norm=0.1)


@pytest.fixture(scope="module")
def case():
    with tiny_case() as made:
        yield made


def plan(queries, batches, held_out, **changes):
    given = {
        "objective": OBJECTIVES["dpo"](), "batches": [queries.passes(batch) for batch in batches],
        "logps": [found.logps for found in queries.geometry(batches)], "held_out": queries.passes(held_out),
        "settings": SETTINGS, "state": None, "steps": 5, "seed": 0,
    }  # fmt: skip
    return PilotPlan(**given | changes)


def scored(model, pairs):
    return response_logps(model, collate(pairs, pad_token_id=0)).reshape(2, -1)


def trained(model, batches, held_out, order):
    """DPO as it is written in the paper, by torch's own loop."""
    weights = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        references, before = [scored(model, batch) for batch in batches], scored(model, held_out)
    optimizer = torch.optim.AdamW(model.parameters(), lr=SETTINGS.learning_rate, weight_decay=0.0)
    for number in order:
        optimizer.zero_grad()
        ratios = scored(model, batches[number]) - references[number]
        (-functional.logsigmoid(0.1 * (ratios[0] - ratios[1])).mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS.max_grad_norm)
        optimizer.step()
    with torch.no_grad():
        change = scored(model, held_out) - before
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.copy_(weight)
    model.zero_grad()
    return change.double()


def test_it_ends_where_training_with_torch_ends(case):
    queries, batches, held_out = case
    rng = np.random.default_rng([0, 3])
    order = [number for _ in range(3) for number in rng.permutation(2).tolist()][:5]
    expected = trained(queries.scorer.model, batches, held_out, order)
    with piloted(plan(queries, batches, held_out)) as pilot:
        found = pilot.changes
    assert pilot.steps == (1, 2, 5)
    assert pilot.diverged_at is None
    assert torch.allclose(found[-1], expected, rtol=1e-3, atol=1e-5)
    assert float(expected.abs().max()) > 0.05


def test_weights_gradients_and_random_state_are_back_to_the_last_bit(case):
    queries, batches, held_out = case
    model = queries.scorer.model
    parameters = list(model.parameters())
    parameters[0].grad = torch.ones_like(parameters[0])
    before = [(p.data_ptr(), p.detach().clone(), p.grad) for p in parameters]
    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt), piloted(plan(queries, batches, held_out)):
        assert not torch.equal(parameters[1], before[1][1])
        torch.randn(3)
        raise KeyboardInterrupt
    for parameter, (place, weight, grad) in zip(parameters, before, strict=True):
        assert parameter.data_ptr() == place
        assert torch.equal(parameter, weight)
        assert parameter.grad is grad
    assert torch.equal(torch.get_rng_state(), state)
    parameters[0].grad = None


def test_what_diverges_ends_the_pilot_and_not_the_analysis(case):
    queries, batches, held_out = case
    settings = OptimizerSettings("sgd", learning_rate=1e30, max_grad_norm=0.0)
    with piloted(plan(queries, batches, held_out, settings=settings)) as pilot:
        pass
    assert pilot.diverged_at is not None
    assert len(pilot.steps) == len(pilot.changes) < 3


def test_a_loaded_state_goes_on_where_it_stopped(case):
    """Two steps and then one more from their state are three steps."""
    queries, batches, held_out = case
    model = queries.scorer.model
    alone = batches[:1]
    with piloted(plan(queries, alone, held_out, steps=3)) as three:
        pass
    start = plan(queries, alone, held_out, steps=2)
    with piloted(start) as two:
        more = PilotPlan(**{**vars(start), "steps": 1, "state": two.state})
        with piloted(more) as one:
            total = two.changes[-1] + one.changes[-1]
    assert torch.allclose(total, three.changes[-1], rtol=1e-4, atol=1e-6)
    assert all(p.grad is None for p in model.parameters())
