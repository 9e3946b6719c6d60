"""What the engine is compared with: an ordinary training pass, and other ways to the same numbers.

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
    """Log-probs of responses by way of the logits of all positions."""
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask.long()}
    logits = model(**inputs, use_cache=False).logits[:, :-1]
    token_logps = logits.gather(2, batch.input_ids[:, 1:, None]).squeeze(2) - logits.logsumexp(2)
    return (token_logps * batch.completion_mask[:, 1:]).sum(1)


def plain(model: PreTrainedModel, batch: PairBatch) -> None:
    """One forward and backward pass of a training step whose weight gradients are written anew."""
    model.zero_grad()
    logits_logps(model, batch).sum().backward()


def accumulating(model: PreTrainedModel, batch: PairBatch) -> None:
    """The same, weight gradients added to those that are there, as in gradient accumulation: the unit of all ratios."""
    logits_logps(model, batch).sum().backward()


def lean(model: PreTrainedModel, head: PlainHead, batch: PairBatch) -> None:
    """A training pass whose head scores response rows only."""
    model.zero_grad()
    head_logps(head_input(head, batch)).sum().backward()


def one_backward_each(model: PreTrainedModel, batch: PairBatch) -> list[tuple[float, float, float]]:
    """One forward and backward pass a response at batch size one; gradients flattened, then norms and products."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    pairs = len(batch.input_ids) // 2

    def gradient(row: int) -> Tensor:
        model.zero_grad()
        one = PairBatch(*(values[row : row + 1] for values in vars(batch).values()))
        logits_logps(model, one).sum().backward()
        return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])

    found = []
    for pair in range(pairs):
        chosen, rejected = gradient(pair), gradient(pairs + pair)
        found.append((float(chosen.norm()), float(rejected.norm()), float(chosen @ rejected)))
    return found


def vmap_grad(model: PreTrainedModel, batch: PairBatch) -> list[Tensor]:
    """`torch.func`: gradients of the two responses of a pair at once."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    pairs, ids, response = len(batch.input_ids) // 2, batch.input_ids, batch.completion_mask

    def logp(parameters: dict[str, Tensor], row: Tensor, scored: Tensor) -> Tensor:
        logits = functional_call(model, parameters, (row[None],), {"use_cache": False}).logits[0, :-1]
        token_logps = logits.gather(1, row[1:, None]).squeeze(1) - logits.logsumexp(1)
        return (token_logps * scored[1:]).sum()

    found = []
    for pair in range(pairs):
        both = [pair, pairs + pair]
        gradients = vmap(grad(logp), in_dims=(None, 0, 0))(trained, ids[both], response[both])
        flat = [g.flatten(1) for g in gradients.values()]
        found.append(sum(g @ g.T for g in flat))
    return found


def opacus_method(model: PreTrainedModel, batch: PairBatch) -> Callable[[], Tensor] | None:
    """Opacus, which keeps the gradient of every response, where it is installed and runs.

    Args:
        model: is copied.
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
