"""One forward and one backward pass over activations; taps read the per-response gradients off it.

Autograd forms no weight gradient here. Parameters are frozen for the pass, and the gradient that reaches a tapped
output is passed to a layer rule together with the module's inputs.
"""

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from preflens.gram.capture.autograd import is_reentrant
from preflens.gram.capture.forward import Forward, ForwardOutput, check_finite
from preflens.gram.capture.restoring import frozen, same_random_state
from preflens.gram.capture.taps import TapState, taps
from preflens.gram.readers.base import GradientConsumer
from preflens.gram.readers.collector import Collector, PassReport
from preflens.gram.readers.owners import Owners


def run_pass(owners: Owners, forward: Forward, consumer: GradientConsumer, *, strict: bool = True) -> PassReport:
    """Run one forward and one backward pass, and give the per-response gradients to a consumer.

    Parameters, `param.grad`, hooks and random state are as before afterwards, also after an error.

    Args:
        owners: of the parameters that are differentiated.
        forward: runs the model; returns log-probs or the input of its head.
        consumer: receives the output of the forward pass, and every module's gradients.
        strict: refuse parameters that no gradient reached though their module ran and the log-probs depend on them.

    Returns:
        The modules that were called, and the parameters that no gradient reached.

    Raises:
        InputError: `forward` does not return chosen and rejected rows.
        NonFiniteLogpError: a log-prob is not finite.
    """
    collector = Collector(owners, consumer)
    with ExitStack() as stack:
        stack.enter_context(frozen(owners.block_of))
        stack.enter_context(same_random_state())
        collector.state = stack.enter_context(taps(owners.recognizers(), collector.receive, force=True))
        stack.enter_context(torch.enable_grad())
        output = ForwardOutput(forward())
        collector.end_forward(output.responses)
        consumer.on_forward(output)
        _backward(output.root, _gradient_at_root(output, consumer), collector.state)
        with torch.no_grad(), torch.autocast(output.device.type, enabled=False):
            collector.end_backward()
            consumer.on_end()
    report = collector.report()
    if strict:
        head: set[nn.Parameter | None] = set()
        if output.head is not None:
            head = {owners.trainable(output.head.weight), owners.trainable(output.head.bias)}
        report.check(head, owners, forward)
    return report


def _gradient_at_root(output: ForwardOutput, consumer: GradientConsumer) -> Tensor:
    """The gradient of the sum of log-probs at the tensor from which the backward pass starts."""
    if output.head is None:
        check_finite(output.root.detach())
        return torch.ones_like(output.root)
    with torch.no_grad(), torch.autocast(output.device.type, enabled=False):
        scored = consumer.score_head(output.head)
    check_finite(scored.rows.logps())
    return scored.hidden_gradient


def _backward(root: Tensor, gradient: Tensor, state: TapState) -> None:
    """Walk backwards to the taps; nothing is written to any `.grad`.

    Reentrant checkpointing works with `backward` only. There every trainable parameter is frozen, and any other leaf
    that might collect a gradient lies outside of the model.
    """
    if not root.requires_grad:
        return
    if state.skipped and is_reentrant(root):
        torch.autograd.backward(root, gradient)
    else:
        assert state.anchor is not None
        torch.autograd.grad(root, [state.anchor], gradient, allow_unused=True)
