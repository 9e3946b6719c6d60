"""A short run of a real optimizer from the present weights, and back again: what twenty steps do to held-out pairs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.analysis.measurement.forward_passes import MicroBatches
from preflens.analysis.measurement.real_steps import in_float32, logp_values, objective_update
from preflens.errors import NumericalError
from preflens.gram.capture.restoring import same_random_state
from preflens.objectives.kinds.base import Objective
from preflens.optimizers.first_update import FirstUpdate, State
from preflens.optimizers.settings import OptimizerSettings
from preflens.pair_logps import PairLogps

POINTS = (1, 2, 5, 10, 20)


@dataclass(frozen=True, kw_only=True)
class PilotPlan:
    """What a pilot does.

    Attributes:
        objective: the loss.
        batches: the update batches, each cut into passes.
        logps: of each batch at the start; reference log-probs stay as they are there.
        held_out: the pairs that are watched.
        settings: the optimizer; the learning rate is constant.
        state: of its parameters, or None for a fresh one.
        steps: how many.
        seed: of the order in which batches step.
    """

    objective: Objective
    batches: Sequence[MicroBatches]
    logps: Sequence[PairLogps]
    held_out: MicroBatches
    settings: OptimizerSettings
    state: State | None
    steps: int
    seed: int

    @property
    def points(self) -> tuple[int, ...]:
        """Steps after which held-out pairs are scored."""
        return tuple(sorted({*(p for p in POINTS if p < self.steps), self.steps}))


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """A finished pilot; the model still has its weights.

    Attributes:
        steps: after which held-out pairs were scored, as far as log-probs stayed finite.
        changes: of chosen and rejected log-probs of each held-out pair since the start, nats.
        diverged_at: the step that could not be taken, or None.
        state: of the optimizer, by parameter.
    """

    steps: tuple[int, ...]
    changes: Float64[Tensor, "point two held_out"]
    diverged_at: int | None
    state: Mapping[nn.Parameter, Mapping[str, Any]]


@contextmanager
def piloted(plan: PilotPlan, *, advance: Callable[[], object] = lambda: None) -> Iterator[Pilot]:
    """Take real optimizer steps; weights, `.grad` and random state are back afterwards, bit for bit.

    Args:
        plan: what to do.
        advance: called after every step.

    Yields:
        What happened, while the model has the weights at the end.
    """
    module = plan.held_out.model
    with in_float32(module), same_random_state(), _put_back(module):
        yield _run(plan, advance)


def _run(plan: PilotPlan, advance: Callable[[], object]) -> Pilot:
    module, forwards = plan.held_out.model, plan.held_out.forwards()
    optimizer = _optimizer(module, plan)
    before = logp_values(forwards)
    steps, changes, diverged = [], [], None
    for number, batch in enumerate(_order(len(plan.batches), plan.steps, seed=plan.seed), start=1):
        try:
            _step(module, optimizer, plan, batch)
            if number in plan.points:
                changes.append(logp_values(forwards) - before)
                steps.append(number)
        except NumericalError:
            diverged = number
            break
        advance()
    found = torch.stack(changes) if changes else before.new_zeros(0, *before.shape)
    return Pilot(steps=tuple(steps), changes=found, diverged_at=diverged, state=_state(module, optimizer))


def _step(module: nn.Module, optimizer: torch.optim.Optimizer, plan: PilotPlan, number: int) -> None:
    """One optimizer step on one update batch, its coefficients those of the weights as they are."""
    update = objective_update(plan.objective, plan.batches[number], plan.logps[number])
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter, direction in zip(parameters, update, strict=True):
        parameter.grad = -direction
    if plan.settings.clips:
        nn.utils.clip_grad_norm_(parameters, plan.settings.max_grad_norm)
    optimizer.step()


def _optimizer(module: nn.Module, plan: PilotPlan) -> torch.optim.Optimizer:
    decays = FirstUpdate(module, plan.settings).decays
    groups = [
        {"params": parameters, "weight_decay": plan.settings.weight_decay if decayed else 0.0}
        for decayed in (True, False)
        if (parameters := [p for p in module.parameters() if p.requires_grad and decays(p) == decayed])
    ]
    optimizer = plan.settings.make(groups)
    for parameter, state in (plan.state or {}).items():
        optimizer.state[parameter] = {
            name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()
        }
    return optimizer


def _state(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[nn.Parameter, dict[str, Any]]:
    return {p: optimizer.state[p] for p in module.parameters() if p in optimizer.state}


def _order(batches: int, steps: int, *, seed: int) -> Iterator[int]:
    """Batches epoch by epoch, in another order each."""
    generator = np.random.default_rng([seed, 3])
    taken = 0
    while taken < steps:
        for number in generator.permutation(batches)[: steps - taken].tolist():
            yield number
            taken += 1


@contextmanager
def _put_back(module: nn.Module) -> Iterator[None]:
    kept = [(p, p.data, p.grad) for p in module.parameters() if p.requires_grad]
    try:
        for parameter, data, _ in kept:
            parameter.data, parameter.grad = data.clone(), None
        yield
    finally:
        for parameter, data, grad in kept:
            parameter.data = data
            parameter.grad = grad
