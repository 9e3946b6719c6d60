"""Updates on stacks of copies are those of the real optimizer on the model, fresh or in the middle of a run."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from preflens.errors import InputError
from preflens.optimizers.first_update import FirstUpdate, decayed_parameters
from preflens.optimizers.settings import NAMES, OptimizerSettings

DIRECTIONS = 3


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 4, dtype=torch.float64)
        self.norm = nn.LayerNorm(4, dtype=torch.float64)


def groups_of(module, settings):
    decayed = decayed_parameters(module)
    rest = [p for p in module.parameters() if p not in decayed]
    return [
        {"params": [p for p in module.parameters() if p in decayed], "weight_decay": settings.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def drawn(module, seed):
    draw = torch.Generator().manual_seed(seed)
    return {p: torch.randn(p.shape, generator=draw, dtype=p.dtype) for p in module.parameters()}


@pytest.mark.parametrize("earlier", [0, 3])
@pytest.mark.parametrize("name", NAMES)
def test_updates_are_those_of_the_real_optimizer(name, earlier):
    torch.manual_seed(0)
    module = Small()
    settings = OptimizerSettings(name, learning_rate=0.01, weight_decay=0.0 if name == "plain" else 0.1)
    optimizer = settings.make(groups_of(module, settings))
    for step in range(earlier):
        for p, gradient in drawn(module, step).items():
            p.grad = gradient
        optimizer.step()
    update = FirstUpdate(module, settings, dict(optimizer.state))
    before = {p: p.detach().clone() for p in module.parameters()}
    kept = {p: {k: v.clone() if torch.is_tensor(v) else v for k, v in optimizer.state[p].items()} for p in before}
    wanted = [drawn(module, 100 + k) for k in range(DIRECTIONS)]
    found = {p: update.of(p, ..., torch.stack([w[p] for w in wanted])) for p in before}
    decay = {p: update.decay(p, ..., torch.stack([w[p] for w in wanted])) for p in before}
    for direction, gradients in enumerate(wanted):
        for p, gradient in gradients.items():
            p.data = before[p].clone()
            p.grad = gradient.clone()
            optimizer.state[p] = {k: v.clone() if torch.is_tensor(v) else v for k, v in kept[p].items()}
        optimizer.step()
        for p, old in before.items():
            whole = found[p][direction] + (0 if decay[p] is None else decay[p][direction])
            torch.testing.assert_close(whole, p.detach() - old, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in NAMES if OptimizerSettings(n).by_entry])
def test_rows_step_as_they_do_with_all_others(name):
    module = Small()
    settings = OptimizerSettings(name)
    update = FirstUpdate(module, settings)
    gradients = torch.randn(DIRECTIONS, 4, 6, dtype=torch.float64)
    whole = update.of(module.linear.weight, ..., gradients)
    part = update.of(module.linear.weight, slice(1, 3), gradients[:, 1:3])
    torch.testing.assert_close(part, whole[:, 1:3], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("adamw", "adamw_torch"), ("sgd", "sgd"), ("rmsprop", "rmsprop"), ("adafactor", "adafactor")],
)
def test_the_optimizer_is_the_one_that_transformers_makes(name, theirs, tmp_path):
    settings = OptimizerSettings(name, learning_rate=3e-4, beta1=0.8, beta2=0.95, epsilon=1e-7)
    args = TrainingArguments(
        output_dir=str(tmp_path), optim=theirs, learning_rate=3e-4, adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-7,
        use_cpu=True,
    )  # fmt: skip
    kind, keywords = Trainer.get_optimizer_cls_and_kwargs(args)
    module = Small()
    ours, their = settings.make([{"params": list(module.parameters())}]), kind(module.parameters(), **keywords)
    assert type(ours) is kind
    assert {k: v for k, v in ours.param_groups[0].items() if k != "params"} == {
        k: v for k, v in their.param_groups[0].items() if k != "params"
    }


def test_weights_decay_where_transformers_lets_them():
    module = Small()
    names = Trainer.get_decay_parameter_names(SimpleNamespace(), module)
    assert (
        decayed_parameters(module) == {p for n, p in module.named_parameters() if n in names} == {module.linear.weight}
    )


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"name": "adam"}, "one of adamw"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"beta2": 1.0}, "beta2"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"epsilon": float("nan")}, "epsilon"),
    ],
)
def test_numbers_that_make_no_optimizer_are_refused(wrong, what):
    with pytest.raises(InputError, match=what):
        OptimizerSettings(**wrong)
