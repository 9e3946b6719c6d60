"""Baselines for the engine: an ordinary training pass, and other ways to compute the same numbers.

Written from descriptions of the methods: one backward pass a response with flattened gradients is how the paper's
authors measure; `vmap(grad)` and opacus are the general tools for per-sample gradients.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from transformers import PreTrainedModel

from preflens.gram.factors.scored_rows import head_logps
from preflens.language_models.batch import PairBatch
from preflens.language_models.output_head import PlainHead, head_input


def logits_logps(model: PreTrainedModel, batch: PairBatch) -> Tensor:
    """Compute log-probs of responses from the logits of all positions."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask.long()}
    logits = model(**inputs, use_cache=False).logits[:, :-1]
    token_logps = logits.gather(2, batch.input_ids[:, 1:, None]).squeeze(2) - logits.logsumexp(2)
    return (token_logps * batch.completion_mask[:, 1:]).sum(1)


def plain(model: PreTrainedModel, batch: PairBatch) -> None:
    """Run one forward and backward pass of a training step, with new weight gradients."""
    model.zero_grad()
    logits_logps(model, batch).sum().backward()


def accumulating(model: PreTrainedModel, batch: PairBatch) -> None:
    """Run one that adds to existing weight gradients, as in gradient accumulation: the unit of all ratios."""
    logits_logps(model, batch).sum().backward()


def lean(model: PreTrainedModel, head: PlainHead, batch: PairBatch) -> None:
    """Run a training pass whose head scores response rows only."""
    model.zero_grad()
    head_logps(head_input(head, batch)).sum().backward()


def one_backward_each(model: PreTrainedModel, batch: PairBatch) -> list[tuple[float, float, float]]:
    """Run one forward and backward pass per response, flatten the gradients, and multiply them."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    pairs = len(batch.input_ids) // 2

    def gradient(row: int) -> Tensor:
        model.zero_grad()
        one = PairBatch(*(values[row : row + 1] for values in vars(batch).values()))
        logits_logps(model, one).sum().backward()
        return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])

    products = []
    for pair in range(pairs):
        chosen, rejected = gradient(pair), gradient(pairs + pair)
        products.append((float(chosen.norm()), float(rejected.norm()), float(chosen @ rejected)))
    return products


def vmap_grad(model: PreTrainedModel, batch: PairBatch) -> list[Tensor]:
    """Compute the gradients of the two responses of a pair at once, with `torch.func`."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    pairs, ids, response = len(batch.input_ids) // 2, batch.input_ids, batch.completion_mask

    def logp(parameters: dict[str, Tensor], row: Tensor, scored: Tensor) -> Tensor:
        logits = functional_call(model, parameters, (row[None],), {"use_cache": False}).logits[0, :-1]
        token_logps = logits.gather(1, row[1:, None]).squeeze(1) - logits.logsumexp(1)
        return (token_logps * scored[1:]).sum()

    products = []
    for pair in range(pairs):
        rows = [pair, pairs + pair]
        gradients = vmap(grad(logp), in_dims=(None, 0, 0))(trained, ids[rows], response[rows])
        flat = [g.flatten(1) for g in gradients.values()]
        products.append(sum(g @ g.T for g in flat))
    return products


def opacus_method(model: PreTrainedModel, batch: PairBatch) -> Callable[[], Tensor] | None:
    """Return a method that uses Opacus, which keeps the gradient of every response, if it is installed and runs.

    Args:
        model: the model. It is copied.
        batch: the pairs.

    Returns:
        The method, or None.
    """
    try:
        import copy

        from opacus import GradSampleModule
    except ImportError:
        return None
    wrapped = GradSampleModule(copy.deepcopy(model).train(), strict=False)
    positions = torch.arange(batch.input_ids.shape[1]).expand_as(batch.input_ids)

    def run() -> Tensor:
        wrapped.zero_grad()
        logits = wrapped(input_ids=batch.input_ids, position_ids=positions, use_cache=False).logits[:, :-1]
        token_logps = logits.gather(2, batch.input_ids[:, 1:, None]).squeeze(2) - logits.logsumexp(2)
        (token_logps * batch.completion_mask[:, 1:]).sum().backward()
        flat = [p.grad_sample.flatten(1) for p in wrapped.parameters() if getattr(p, "grad_sample", None) is not None]
        return sum(g @ g.T for g in flat)

    try:
        run()
    except (RuntimeError, ValueError, AttributeError, NotImplementedError):
        return None
    return run
