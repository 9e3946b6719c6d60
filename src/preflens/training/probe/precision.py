"""Measure log-probs in the full precision of the weights, and estimate what rounding does to them.

A step changes log-probs by hundredths of a nat. In bfloat16 the log-prob of a hundred tokens is off by tenths. A
measurement has to be finer than the change it measures, or its error has to be known.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from preflens.language_models.model import LanguageModel
from preflens.language_models.tokenizing import TokenizedPair


def can_measure_finer(model: nn.Module, autocast: Callable[[], AbstractContextManager[None]]) -> bool:
    """Return whether a model computes more coarsely in training than its weights allow.

    Args:
        model: adapters included.
        autocast: makes the context in which the model computes as in training.

    Returns:
        Whether all weights are float32 or wider, and autocast or TF32 rounds the activations.
    """
    if not all(p.is_floating_point() and p.element_size() >= 4 for p in model.parameters()):
        return False
    device = next(model.parameters()).device.type
    with autocast():
        return torch.is_autocast_enabled(device) or (device == "cuda" and _tf32() is not None)


@contextmanager
def full_precision(model: nn.Module) -> Iterator[None]:
    """Compute as exactly as the weights allow: without autocast and without TF32.

    Args:
        model: perhaps prepared by accelerate, which wraps `forward` in an autocast of its own.

    Yields:
        Nothing.
    """
    device = next(model.parameters()).device.type
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device, enabled=False))
        unwrapped = vars(model).get("_original_forward")
        if unwrapped is not None and "forward" in vars(model):
            stack.callback(vars(model).__setitem__, "forward", vars(model)["forward"])
            vars(model)["forward"] = unwrapped
        if (tf32 := _tf32()) is not None:
            switch, setting, off = tf32
            stack.callback(switch, setting)
            switch(off)
        yield


def _tf32() -> tuple[Callable[[str], None], str, str] | None:
    """The one of torch's two switches that has TF32 on, its setting, and the one for off; None where it is off."""
    # Where it is off nothing may be set: an explicit setting would override what a user sets later.
    try:
        setting = torch.get_float32_matmul_precision()
        return None if setting == "highest" else (torch.set_float32_matmul_precision, setting, "highest")
    except RuntimeError:  # switched on by the other switch, which torch 2.9 added
        matmul = torch.backends.cuda.matmul
        return (partial(setattr, matmul, "fp32_precision"), "tf32", "ieee") if matmul.fp32_precision == "tf32" else None


def input_embeddings(model: LanguageModel) -> nn.Module | None:
    """Return the input embeddings of a model.

    Args:
        model: a language model, with or without an adapter.

    Returns:
        The module, or None where the model does not name it.
    """
    try:
        embeddings: nn.Module | None = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        return None
    return embeddings


@contextmanager
def perturbed_last_bit(embeddings: nn.Module) -> Iterator[None]:
    """Change every output of the embeddings in its last bit, so that all later results are rounded differently.

    Args:
        embeddings: of a model; no random state is touched.

    Yields:
        Nothing.
    """

    def perturb(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:  # noqa: ARG001  # a hook
        device = output.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else output.dtype
        generator = torch.Generator(output.device).manual_seed(0)
        sign = torch.empty_like(output).bernoulli_(0.5, generator=generator).mul_(2).sub_(1)
        return output * (1 + torch.finfo(dtype).eps * sign)

    handle = embeddings.register_forward_hook(perturb)
    try:
        yield
    finally:
        handle.remove()


def rounding_per_token(
    logps: Float64[Tensor, " response"], perturbed: Float64[Tensor, " response"], pairs: Sequence[TokenizedPair]
) -> float:
    """Estimate the rounding error of a measured change of a log-prob.

    Args:
        logps: of the responses, chosen responses first, nats.
        perturbed: of the same responses, rounded differently, nats.
        pairs: of these responses.

    Returns:
        Standard deviation of the error of a difference of two log-probs of one token, nats; for n tokens it
        is √n times as large.
    """
    tokens = sum(sum(pair.scored_tokens) for pair in pairs)
    return float((perturbed - logps).square().sum().div(tokens).sqrt())
