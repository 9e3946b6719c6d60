"""Plain forward passes without gradients: the log-probs of the unchanged model, and the modules that it calls."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.errors import AuditError
from preflens.gram.capture.forward import Forward, ForwardOutput
from preflens.gram.capture.restoring import same_random_state


def check_plain(logps: Float64[Tensor, " response"], forward: Forward, *, tolerance: float) -> None:
    """Compare log-probs that were differentiated with those of a pass without gradients.

    Layers may compute differently when no gradient is needed: kernels for inference, weights packed for them.

    Args:
        logps: log-probs that were differentiated, nats.
        forward: the pass.
        tolerance: largest difference, per nat of 1 + |a|.

    Raises:
        AuditError: they differ by more.
    """
    plain = plain_logps(forward).to(logps.device)
    off = (plain - logps).abs() / (1 + plain.abs())
    if bool((off <= tolerance).all()):
        return
    row = int(off.argmax())
    raise AuditError(
        f"The log-prob of response {row} is {float(logps[row]):.6g} nats in the pass that measures gradients and "
        f"{float(plain[row]):.6g} in a forward pass without gradients. The model computes something else when no "
        "gradient is wanted: a layer that takes another way for inference, weights packed for it, or random numbers "
        "that are no dropout. Switch that off."
    )


def plain_logps(forward: Forward) -> Float64[Tensor, " response"]:
    """Compute log-probs without gradients; the random state is unchanged afterwards.

    Args:
        forward: runs the model.

    Returns:
        Log-probs, nats.
    """
    with _without_gradients():
        return ForwardOutput(forward()).detached_logps()


def called_modules(module: nn.Module, forward: Forward) -> set[nn.Module]:
    """Find the modules that a forward pass calls.

    Args:
        module: the model.
        forward: runs it.

    Returns:
        Those that are called as modules, not by another of their methods.
    """
    with _without_gradients(), running_modules(module) as called:
        forward()
    return called


@contextmanager
def running_modules(module: nn.Module) -> Iterator[set[nn.Module]]:
    """Record which modules are called.

    Args:
        module: the model.

    Yields:
        A set, to which every module that is called is added.
    """
    ran: set[nn.Module] = set()
    with ExitStack() as stack:
        for child in module.modules():
            stack.callback(child.register_forward_pre_hook(lambda m, _: ran.add(m)).remove)
        yield ran


@contextmanager
def _without_gradients() -> Iterator[None]:
    with torch.no_grad(), same_random_state(), warnings.catch_warnings():
        # Of reentrant checkpointing, which a training loop has switched on.
        warnings.filterwarnings("ignore", message="None of the inputs have requires_grad")
        yield
